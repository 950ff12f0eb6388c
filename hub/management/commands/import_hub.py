"""Reads a whole hub from a folder."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import HubError
from hub.services import moving


class Command(BaseCommand):
    """`manage.py import_hub FOLDER`."""

    help = "Read an export into this hub, which must be migrated and have no accounts yet. Stop the site and the workers first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the folder."""
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, and say what was moved."""
        try:
            done = moving.import_from(options["folder"], report=self.stdout.write)
        except HubError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(f"Read {done.rows} rows and {done.blobs} blobs ({done.bytes / 1e6:.1f} MB).")
