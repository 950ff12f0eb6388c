"""Rebuilds a composed adapter from its parents and compares it with what was published."""

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from compose_worker.engine.errors import ComposeError
from hub.errors import HubError
from hub.models import User
from hub.services import recipes

DIFFERS, UNKNOWABLE = 1, 2


class Command(BaseCommand):
    """`manage.py verify_recipe acme/mix [--revision REF] [--as NAME]`: exit code 0 if it agrees, 1 if not, 2 if nobody can tell."""

    help = "Rebuild a composed adapter from its parents by its recipe.json and compare the sha256 of the weights, and the config."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the adapter, its revision, and whose eyes to use."""
        parser.add_argument("adapter", metavar="OWNER/NAME")
        parser.add_argument("--revision", default="main", help="branch, tag or commit; the newest if not given")
        parser.add_argument("--as", dest="username", help="use only what this account may see; without it, everything here")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say in one sentence what agrees or differs."""
        from compose_worker.engine import rebuild  # loads torch

        try:
            actor = _account(options["username"])
            with tempfile.TemporaryDirectory(dir=settings.WORK_DIR) as temporary:
                there, here = Path(temporary) / "published", Path(temporary) / "rebuilt"
                here.mkdir()
                recipe = recipes.published(repo_id=options["adapter"], ref=options["revision"], folder=there, actor=actor)
                rows = rebuild.parents(recipe)
                rebuild.check(recipe)
                folders = [Path(temporary) / f"parent{number}" for number in range(len(rows))]
                for row, folder in zip(rows, folders, strict=True):
                    recipes.parent(repo_id=row["id"], sha=row["revision"], folder=folder, actor=actor)
                rebuild.rebuild(recipe, [str(folder) for folder in folders], str(here))
                verdict = rebuild.compare(recipe, str(here), str(there))
        except (HubError, ComposeError) as error:
            raise CommandError(f"{error.code}: {error.message}", returncode=UNKNOWABLE) from error
        if not verdict.agrees:
            raise CommandError(f"recipe-differs: {verdict.sentence}", returncode=DIFFERS)
        self.stdout.write(verdict.sentence)


def _account(username: str | None) -> User | None:
    if username is None:
        return None
    user = User.objects.filter(username=username.lower()).first()
    if user is None:
        raise HubError("not-found", f"There is no account called {username}.", status=404)
    return user
