"""Writes into the audit log what django-allauth does to accounts; it tells so by signals alone."""

from typing import Any

from allauth.account import signals
from django.apps import apps
from django.contrib.auth.signals import user_logged_in

from hub.models import User
from hub.services import audit


def connect() -> None:
    """Listen to allauth; called once, when the apps are ready."""
    user_logged_in.connect(_on_login)
    signals.user_signed_up.connect(_on_signup)
    for signal in (signals.password_set, signals.password_changed, signals.password_reset):
        signal.connect(_on_password)
    for signal in (signals.email_changed, signals.email_added, signals.email_removed):
        signal.connect(_on_email)
    if apps.is_installed("allauth.mfa"):
        from allauth.mfa import signals as mfa

        for name in ("added", "removed", "reset"):
            getattr(mfa, f"authenticator_{name}").connect(_ON_FACTOR[name])


def _on_login(user: User, **kwargs: Any) -> None:
    audit.record(user, "account.login", user)


def _on_signup(user: User, **kwargs: Any) -> None:
    audit.record(user, "account.create", user)


def _on_password(user: User, signal: Any, **kwargs: Any) -> None:
    audit.record(user, "account.password", user, reset=signal is signals.password_reset)


def _on_email(user: User, signal: Any, **kwargs: Any) -> None:
    change = {signals.email_changed: "main", signals.email_added: "added", signals.email_removed: "removed"}[signal]
    audit.record(user, "account.email", user, change=change)  # which address it is stays where it can be deleted


def _on_factor_added(user: User, authenticator: Any, **kwargs: Any) -> None:
    audit.record(user, "account.factor", user, factor=str(authenticator.type), change="added")


def _on_factor_removed(user: User, authenticator: Any, **kwargs: Any) -> None:
    audit.record(user, "account.factor", user, factor=str(authenticator.type), change="removed")


def _on_factor_reset(user: User, authenticator: Any, **kwargs: Any) -> None:
    audit.record(user, "account.factor", user, factor=str(authenticator.type), change="reset")


_ON_FACTOR = {"added": _on_factor_added, "removed": _on_factor_removed, "reset": _on_factor_reset}
