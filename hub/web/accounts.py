"""How people get accounts: the hook that django-allauth asks."""

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

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
