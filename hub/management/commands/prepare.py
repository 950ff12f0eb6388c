"""Makes a hub ready to start: waits for the database, migrates it, collects the static files, and creates the operator's account."""

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from hub import storage
from hub.errors import HubError
from hub.models import User
from hub.services import accounts

LOCK = 7240719  # any number, the same for all: several machines that start at once migrate one after the other


class Command(BaseCommand):
    """`manage.py prepare [--wait 60]`: doing it again does nothing more, on any number of machines at once."""

    help = "Wait for the database, migrate it, collect the static files, and create the account of ADMIN_USERNAME if it is not there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how long to wait."""
        parser.add_argument("--wait", type=float, default=60, help="seconds that the database may take to answer")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, one machine at a time."""
        self._wait(options["wait"])
        with _alone():
            call_command("migrate", interactive=False, verbosity=0, stdout=self.stdout)
            self._create_admin()
        storage.prepare()
        call_command("collectstatic", interactive=False, verbosity=0, stdout=self.stdout)
        self.stdout.write("Ready.")

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                connection.ensure_connection()
                return
            except OperationalError as error:
                if time.monotonic() > deadline:
                    raise CommandError(f"database-unavailable: the database of DATABASE_URL does not answer within {seconds:g} seconds.") from error
                connection.close()
                time.sleep(0.5)

    def _create_admin(self) -> None:
        name, email, password = settings.ADMIN_USERNAME, settings.ADMIN_EMAIL, settings.ADMIN_PASSWORD
        if not name or User.objects.filter(username=name.lower()).exists():
            return
        try:
            user = accounts.create_user(username=name, email=email, password=password)
        except HubError as error:
            raise CommandError(f"ADMIN_USERNAME, ADMIN_EMAIL or ADMIN_PASSWORD: {error.message}") from error
        User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
        self.stdout.write(f"Created the operator's account {user.username}.")


@contextmanager
def _alone() -> Iterator[None]:
    """Hold a lock that the database gives to one at a time; SQLite has one machine only."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")  # however long another machine migrates
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        cursor.execute("RESET lock_timeout")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
