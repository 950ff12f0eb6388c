"""Compares every blob's row with its bytes, and what accounts are charged for with what they store."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from hub.services import quotas, store


class Command(BaseCommand):
    """`manage.py check_store [--fast] [--mend]`: exit code 0 if every row has its bytes and every account its true count, 1 if not."""

    help = "Check that every blob is in the store as its row says, and that accounts are charged for what they store. Everything may run meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how thorough to be."""
        parser.add_argument("--fast", action="store_true", help="compare sizes only, and read nothing")
        parser.add_argument("--mend", action="store_true", help="count anew what accounts store where the count is wrong; the clock does so once a day")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line for each fault, then how many."""
        faults = 0
        for fault in store.check(hashes=not options["fast"]):
            faults += 1
            self.stdout.write(f"{fault.what}  {fault.sha256}  {', '.join(fault.used_by) or 'not used by any revision'}")
        if options["mend"]:
            mended = quotas.mend()
            self.stdout.write(f"{mended} {'count' if mended == 1 else 'counts'} mended.")
        for account, said, true in quotas.differences():
            faults += 1
            self.stdout.write(f"wrong-usage  {account.username}  {said} bytes are counted, {true} are stored")
        self.stdout.write(f"{faults} faults." if faults else "Every blob is there and is what its row says.")
        if faults:
            sys.exit(1)
