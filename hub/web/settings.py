"""My profile and my access tokens. A new token's text is in the answer that makes it and nowhere else."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from hub.errors import HubError
from hub.models import AccessToken
from hub.services import access, accounts, quotas


class TokenForm(forms.Form):
    """A name and what the token may do."""

    name = forms.CharField(max_length=60, strip=True, widget=forms.TextInput(attrs={"placeholder": "laptop", "autocomplete": "off"}))
    scope = forms.ChoiceField(choices=AccessToken.Scope.choices, initial=AccessToken.Scope.READ, widget=forms.RadioSelect)


class ProfileForm(forms.Form):
    """What a person says of themself."""

    display_name = forms.CharField(max_length=accounts.PROFILE["display_name"], required=False, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    about = forms.CharField(max_length=accounts.PROFILE["about"], required=False, widget=forms.Textarea(attrs={"rows": 4}))
    website = forms.CharField(max_length=accounts.PROFILE["website"], required=False, widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "url"}))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show and save what I say of myself."""
    user = access.require_login(request.user)
    form = ProfileForm(request.POST or None, initial={name: getattr(user, name) for name in accounts.PROFILE})
    if request.method == "POST" and form.is_valid():
        try:
            accounts.change_profile(actor=user, **form.cleaned_data)
        except HubError as error:
            form.add_error(next(iter(error.fields), None), error.message)
        else:
            messages.success(request, "Saved.")
            return redirect("user-detail", user.username)
    context = {"form": form, "storage": quotas.of(user), "pending": quotas.pending(user)}
    return render(request, "settings/profile.html", context, status=400 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List tokens and make new ones."""
    user = access.require_login(request.user)
    form = TokenForm(request.POST or None)
    fresh, text = None, ""
    if request.method == "POST" and form.is_valid():
        try:
            fresh, text = accounts.create_token(actor=user, **form.cleaned_data)
            form = TokenForm()
        except HubError as error:
            form.add_error(next(iter(error.fields), None), error.message)
    context = {"form": form, "fresh": fresh, "text": text, "tokens": accounts.tokens(user=user)}
    return render(request, "settings/tokens.html", context, status=400 if form.errors else 200)


@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """Revoke one token."""
    accounts.revoke_token(actor=request.user, digest=request.POST.get("digest", ""))
    messages.success(request, "The token is revoked. Whoever uses it is logged out now.")
    return redirect("token-list")
