"""Writes what searching reads anew for every adapter."""

from typing import Any

from django.core.management.base import BaseCommand

from hub.services import index, social


class Command(BaseCommand):
    """Rebuild the search index; the site may run meanwhile."""

    help = "Index every adapter for searching anew. Needed after an upgrade that says so; the site may run meanwhile."

    def handle(self, *args: Any, **options: Any) -> None:
        """Index all, and count the trends."""
        done = index.catch_up(everything=True)
        social.refresh_trends()
        self.stdout.write(f"Indexed {done} adapter{'' if done == 1 else 's'}.")
