"""Creates an access token from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import HubError
from hub.models import AccessToken, User
from hub.services import accounts


class Command(BaseCommand):
    """`manage.py create_token NAME --name laptop --scope write` prints the token alone, once."""

    help = "Create an access token for an account and print it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the account, the token's name and its scope."""
        parser.add_argument("username", metavar="NAME")
        parser.add_argument("--name", required=True, help="what the token is for, such as laptop")
        parser.add_argument("--scope", choices=AccessToken.Scope.values, default=AccessToken.Scope.READ.value)

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the token and print its text, which is kept nowhere."""
        user = User.objects.filter(username=options["username"].lower()).first()
        if user is None:
            raise CommandError(f"not-found: There is no account called {options['username']}.")
        try:
            _, text = accounts.create_token(actor=user, name=options["name"], scope=options["scope"])
        except HubError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(text)
