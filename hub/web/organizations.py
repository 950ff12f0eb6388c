"""Pages of an organisation: what it owns and who is in it, and its owners' settings."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from hub.errors import HubError
from hub.models import Role, User
from hub.services import access, audit, organizations, quotas, search
from hub.web import log

PAGE = 30
FACES = 24  # members that the page shows
ROLES = {
    Role.OWNER: "sees and changes everything, and decides about members, names and ends",
    Role.WRITER: "makes adapters and adds revisions",
    Role.READER: "sees and downloads private adapters",
}


def show(request: HttpRequest, organization: User) -> HttpResponse:
    """Show an organisation, as far as the asker sees what it owns."""
    cursor = request.GET.get("cursor", "")
    members = organizations.members(organization=organization)
    role = access.role_at(request.user, organization)
    context = {
        "organization": organization,
        "page": search.adapters(actor=request.user, owner=organization.username, limit=PAGE, cursor=cursor),
        "cursor": cursor,
        "members": members[:FACES],
        "more_members": max(0, members.count() - FACES),
        "role": role,
        "may_create": access.may_create(request.user, organization),
        "invited": request.user.is_authenticated and organizations.invitations_to(actor=request.user).filter(organization=organization).first(),
    }
    return render(request, "organizations/detail.html", context)


def settings(request: HttpRequest, owner: str) -> HttpResponse:
    """Show an organisation's settings and save what it says of itself."""
    organization = _owned(request, owner)
    if request.method != "POST":
        return _show_settings(request, organization)
    about = request.POST.get("about", "")
    return _done(request, organization, "about", lambda: organizations.update(actor=request.user, organization=organization, about=about), "Saved.")


@require_POST
def rename(request: HttpRequest, owner: str) -> HttpResponse:
    """Give an organisation another name."""
    organization = _owned(request, owner)
    name = request.POST.get("name", "")
    said = "It has its new name. Addresses with the old one lead here."
    return _done(request, organization, "rename", lambda: organizations.rename(actor=request.user, organization=organization, name=name), said)


@require_POST
def invite(request: HttpRequest, owner: str) -> HttpResponse:
    """Ask an account to join."""
    organization = _owned(request, owner)
    name, role = request.POST.get("user", "").strip(), request.POST.get("role", "")
    said = f"{name} is asked to join."
    return _done(request, organization, "invite", lambda: organizations.invite(actor=request.user, organization=organization, username=name, role=role), said)


@require_POST
def withdraw(request: HttpRequest, owner: str) -> HttpResponse:
    """Take an invitation back."""
    organization = _owned(request, owner)
    name = request.POST.get("user", "")
    return _done(
        request, organization, "invite", lambda: organizations.withdraw(actor=request.user, organization=organization, username=name), "It is taken back."
    )


@require_POST
def member(request: HttpRequest, owner: str) -> HttpResponse:
    """Change the role of a member, or remove them; anyone may remove themselves."""
    user, organization = access.require_login(request.user), organizations.find(name=owner)
    name, role = request.POST.get("user", ""), request.POST.get("role", "")
    if role:
        _owned(request, owner)
        said = f"{name} is {'an' if role == Role.OWNER else 'a'} {role} now."
        return _done(request, organization, "members", lambda: organizations.set_role(actor=user, organization=organization, username=name, role=role), said)
    if name != user.username:
        _owned(request, owner)
        said = f"{name} is no member any more."
        return _done(request, organization, "members", lambda: organizations.remove(actor=user, organization=organization, username=name), said)
    organizations.remove(actor=user, organization=organization, username=name)
    messages.success(request, f"You have left {organization.username}.")
    return redirect("organization-list")


@require_POST
def delete(request: HttpRequest, owner: str) -> HttpResponse:
    """Delete an organisation whose name was typed to confirm."""
    organization = _owned(request, owner)
    if request.POST.get("confirm", "").strip() != organization.username:
        return _show_settings(request, organization, {"delete": f"This is not its name. Type {organization.username} to delete it."})
    try:
        organizations.delete(actor=request.user, organization=organization)
    except HubError as error:
        return _show_settings(request, organization, {"delete": error.message})
    messages.success(request, f"{owner} is deleted.")
    return redirect("organization-list")


@require_safe
def history(request: HttpRequest, owner: str) -> HttpResponse:
    """Show an organisation's log."""
    organization = _owned(request, owner)
    return render(request, "organizations/log.html", {"organization": organization, "log": log.page(request, audit.of_account(account=organization))})


def _done(request: HttpRequest, organization: User, form: str, verb: Callable[[], object], said: str) -> HttpResponse:
    """Do it and come back; or show the error at its form."""
    try:
        verb()
    except HubError as error:
        return _show_settings(request, organization, {form: error.message})
    messages.success(request, said)
    role = access.role_at(request.user, organization)
    return redirect("organization-settings" if role == Role.OWNER else "user-detail", organization.username)


def _show_settings(request: HttpRequest, organization: User, wrong: dict[str, str] | None = None) -> HttpResponse:
    context = {
        "organization": organization,
        "members": organizations.members(organization=organization),
        "invitations": organizations.invitations(actor=request.user, organization=organization),
        "roles": [(role, role.label, said) for role, said in ROLES.items()],
        "sent": request.POST if wrong else {},
        "wrong": wrong or {},
        "log": log.page(request, audit.of_account(account=organization), brief=True),
        "storage": quotas.of(organization),
    }
    return render(request, "organizations/settings.html", context, status=400 if wrong else 200)


def _owned(request: HttpRequest, name: str) -> User:
    access.require_login(request.user)
    organization = organizations.find(name=name)
    organizations.require_owner(request.user, organization)
    return organization
