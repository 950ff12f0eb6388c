"""The page on which a person lets in a program that waits, or sends it away."""

import re

from allauth.idp.oidc.forms import ConfirmCodeForm
from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from hub import files
from hub.errors import HubError
from hub.models import AccessToken, User
from hub.services import access, logins

UNKNOWN = "There is no program with this code. It was mistyped, answered already, or is older than ten minutes; then start the login again for a new one."
TOO_MANY = "You have tried too many codes. Wait a minute."


class GrantForm(forms.Form):
    """What the program's token is called and may do."""

    name = forms.CharField(max_length=60, strip=True, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    scope = forms.ChoiceField(choices=AccessToken.Scope.choices, widget=forms.RadioSelect)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def device(request: HttpRequest) -> HttpResponse:
    """Ask for the code, then show what it stands for, then say what became of it."""
    user = access.require_login(request.user)
    code = _tidy(request.GET.get("code", ""))
    if not code:
        return render(request, "device/code.html")
    form = ConfirmCodeForm({"code": code})
    if not form.is_valid():
        late = form.errors.as_data()["code"][0].code == "rate_limited"
        return render(request, "device/code.html", {"code": code, "error": TOO_MANY if late else UNKNOWN}, status=429 if late else 400)
    return _judge(request, user, form.device_code)


def _judge(request: HttpRequest, user: User, device_code: str) -> HttpResponse:
    asked = logins.asked(device_code=device_code)
    if asked is None:
        return render(request, "device/code.html", {"error": UNKNOWN}, status=400)
    context = {"asked": asked, "here": asked.address == files.address(request)}
    if request.method == "POST" and request.POST.get("answer") == "deny":
        logins.deny(actor=user, device_code=device_code)
        return render(request, "device/denied.html", context)
    form = GrantForm(request.POST if request.method == "POST" else None, initial={"name": f"hf-{user.username}", "scope": asked.scope})
    if form.is_valid():
        try:
            logins.grant(actor=user, device_code=device_code, **form.cleaned_data)
            return render(request, "device/granted.html", {**context, **form.cleaned_data})
        except HubError as error:
            form.add_error(next(iter(error.fields), None), error.message)
    return render(request, "device/ask.html", {**context, "form": form}, status=400 if form.errors else 200)


def _tidy(typed: str) -> str:
    """Return a code as it is written: eight letters in two halves. People leave out the hyphen."""
    letters = re.sub(r"[^A-Z]", "", typed.upper()[:40])[:8]
    return f"{letters[:4]}-{letters[4:]}" if letters[4:] else letters
