"""Revokes a worker token from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.models import WorkerToken
from hub.services import workers


class Command(BaseCommand):
    """`manage.py revoke_worker_token gpu-club` shuts its workers out; what they were computing goes back to the queue."""

    help = "Shut the workers of a machine elsewhere out, at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the token's name."""
        parser.add_argument("name", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete the token."""
        token = WorkerToken.objects.filter(name=options["name"]).first()
        if token is None:
            raise CommandError(f"not-found: There is no worker token called {options['name']}.")
        workers.revoke_token(actor=None, token=token)
        self.stdout.write(f"{options['name']} is shut out.")
