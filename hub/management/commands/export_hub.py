"""Writes a whole hub into a folder."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import HubError
from hub.services import moving


class Command(BaseCommand):
    """`manage.py export_hub FOLDER`."""

    help = "Write every row and every blob of this hub into a folder, as it is at this moment. The hub may run meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the folder."""
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, and say what was moved."""
        try:
            done = moving.export_to(options["folder"], report=self.stdout.write)
        except HubError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(f"Wrote {done.rows} rows and {done.blobs} blobs ({done.bytes / 1e6:.1f} MB).")
