"""Creates a worker token from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import HubError
from hub.services import workers


class Command(BaseCommand):
    """`manage.py create_worker_token gpu-club --bases 'acme/*'` prints the token alone, once."""

    help = "Let workers on a machine elsewhere take jobs, and print the token for them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the machine's name, what it may serve, and how far it is trusted."""
        parser.add_argument("name", metavar="NAME", help="whose machine it is; people see it beside what was computed there")
        parser.add_argument("--bases", default="", help="base models that it may serve, separated by commas, such as 'acme/*'; all without this")
        parser.add_argument("--trusted", action="store_true", help="it may run every job, with private adapters and examples, such as a machine of your own")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the token and print its text, which is kept nowhere."""
        try:
            _, text = workers.create_token(actor=None, name=options["name"], bases=options["bases"].split(","), trusted=options["trusted"])
        except HubError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(text)
