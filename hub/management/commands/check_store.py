"""Compares every blob's row with its bytes."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from hub.services import store


class Command(BaseCommand):
    """`manage.py check_store [--fast]`: exit code 0 if every row has its bytes, 1 if not."""

    help = "Check that every blob is in the store, with the size and the sha256 that its row says. Everything may run meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how thorough to be."""
        parser.add_argument("--fast", action="store_true", help="compare sizes only, and read nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line for each fault, then how many."""
        faults = 0
        for fault in store.check(hashes=not options["fast"]):
            faults += 1
            self.stdout.write(f"{fault.what}  {fault.sha256}  {', '.join(fault.used_by) or 'not used by any revision'}")
        self.stdout.write(f"{faults} faults." if faults else "Every blob is there and is what its row says.")
        if faults:
            sys.exit(1)
