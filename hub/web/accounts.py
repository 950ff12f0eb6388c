"""How people get accounts: the hook that django-allauth asks."""

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Opens or closes the sign-up page as SIGNUP_OPEN says."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Say whether anyone may sign up."""
        return bool(settings.SIGNUP_OPEN)
