"""Creates an account from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import HubError
from hub.services import accounts


class Command(BaseCommand):
    """`manage.py create_user NAME --email E --password P`."""

    help = "Create an account, as the sign-up page does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the name, the address and the password."""
        parser.add_argument("name")
        parser.add_argument("--email", required=True)
        parser.add_argument("--password", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the account, or say what is wrong; the code comes first."""
        try:
            user = accounts.create_user(username=options["name"], email=options["email"], password=options["password"])
        except HubError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(f"Created {user.username}.")
