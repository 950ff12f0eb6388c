"""Hosts a base model from a folder."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hub.errors import HubError
from hub.services import hosting


class Command(BaseCommand):
    """`manage.py host_base_model FOLDER --as HuggingFaceTB/SmolLM2-135M-Instruct`."""

    help = "Host a base model, so that clients load it from this hub by its name and workers compose on it. A second call adds a revision."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the folder and the id."""
        parser.add_argument("folder", type=Path, help="a folder with config.json, model*.safetensors and the tokenizer")
        parser.add_argument("--as", dest="repo_id", metavar="OWNER/NAME", required=True, help="the name that adapters carry in base_model_name_or_path")
        parser.add_argument("--message", default="", help="what the revision is")

    def handle(self, *args: Any, **options: Any) -> None:
        """Host it, and say what was left out."""
        try:
            revision, left_out = hosting.host(repo_id=options["repo_id"], folder=options["folder"], message=options["message"])
        except HubError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(f"{revision.adapter.repo_id} is hosted at {revision.sha}.")
        if left_out:
            self.stdout.write(f"Left out, because base models here are safetensors and text: {', '.join(left_out)}.")
