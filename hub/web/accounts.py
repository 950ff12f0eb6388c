"""How people get into accounts: the hooks that django-allauth asks."""

import base64
import hashlib
import secrets
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.views import ConfirmEmailView, EmailView
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from hub.models import User
from hub.services import accounts


class AccountAdapter(DefaultAccountAdapter):
    """Opens or closes the sign-up page as SIGNUP_OPEN says, and takes user names in any case."""

    error_messages = {**DefaultAccountAdapter.error_messages, "username_taken": "This user name is taken."}

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Say whether anyone may sign up."""
        return bool(settings.SIGNUP_OPEN)

    def clean_username(self, username: str, shallow: bool = False) -> str:
        """Return the name in lower case, or say what is wrong with it."""
        name = username.strip().lower()
        if accounts.is_namespace(name):
            raise ValidationError(accounts.namespace_sentence(name))
        if accounts.formerly(name).exists():
            raise ValidationError(self.error_messages["username_taken"])
        return str(super().clean_username(name, shallow))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Let links in mails lead to the address that the operator gave: the Host of a request is its sender's to choose."""
        links = {
            name: settings.PUBLIC_URL + urlsplit(value)._replace(scheme="", netloc="").geturl() for name, value in context.items() if name.endswith("_url")
        }
        here = urlsplit(settings.PUBLIC_URL).netloc
        super().send_mail(template_prefix, email, {**context, **links, "current_site": {"name": here, "domain": here}})

    def send_notification_mail(self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None) -> None:
        """Tell of a changed password, a new key and the like at the account's address, whether or not it came from the sign-up page."""
        super().send_notification_mail(template_prefix, user, context, email or user.email or None)


class ConfirmEmail(ConfirmEmailView):
    """The page behind the link in a mail, which says the same of a link that was used already whether it is opened or sent once more."""

    def post(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Confirm the address."""
        try:
            return super().post(*args, **kwargs)
        except Http404:
            return self.get(*args, **kwargs)


class Emails(EmailView):
    """The page of one's own addresses, which says so when a link that was asked for is not sent."""

    def _action_send(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase | None:
        answer: HttpResponseBase | None = super()._action_send(request, *args, **kwargs)
        address = self._get_email_address(request)
        if address and not self._did_send_verification_email:
            soon = "was sent a link less than three minutes ago. Look into the folder for spam, or ask again a little later."
            messages.warning(request, f"{address.email} {soon}")
        return answer


class SecretsAdapter(DefaultMFAAdapter):
    """Keeps the secrets of authenticator apps and recovery codes encrypted with the site's secret key: the database alone gives nobody a code."""

    def encrypt(self, text: str) -> str:
        """Return the secret as it is stored."""
        return self._box().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return the secret. Where the site's key has changed, that is one that nobody knows, so that no code is right."""
        try:
            return self._box().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            return base64.b32encode(secrets.token_bytes(20)).decode()

    def _box(self) -> MultiFernet:
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return MultiFernet([Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"mfa:{key}".encode()).digest())) for key in keys])
