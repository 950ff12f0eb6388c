"""Removes stored bytes that nothing speaks of any more."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.services import store, uploads


class Command(BaseCommand):
    """`manage.py prune_blobs [--hours 25]`: the clock does the same once a day."""

    help = "Remove bytes that no revision and no unfinished upload speaks of: marked by one run, removed by a later one. Everything may run meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the time that must have passed."""
        parser.add_argument("--hours", type=float, default=store.KEEP_HOURS, help=f"how long unused bytes stay (default {store.KEEP_HOURS:g})")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prune, and say what was done."""
        if options["hours"] < 0:
            raise CommandError("--hours is a number of hours, 0 or more.")
        uploads.forget_old()
        done = store.prune(hours=options["hours"])
        self.stdout.write(
            f"Removed {done.blobs} unused blobs and {done.strays} files without a row ({done.bytes / 1e6:.1f} MB); "
            f"marked {done.condemned} more for a later run."
        )
