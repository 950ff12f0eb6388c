"""Gives this machine's workers a base model."""

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hub.errors import HubError
from hub.services import base_models

FILES = ["*.json", "*.safetensors", "tokenizer*", "*.model", "*.txt", "*.jinja"]


class Command(BaseCommand):
    """`manage.py add_base_model HuggingFaceTB/SmolLM2-135M-Instruct [--from FOLDER]`."""

    help = "Fetch a base model from the Hugging Face Hub, or take it from a folder, so that workers can compose adapters for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the model's id, and where it comes from."""
        parser.add_argument("name", metavar="OWNER/NAME")
        parser.add_argument("--from", dest="folder", type=Path, help="a folder with config.json, safetensors weights and the tokenizer")
        parser.add_argument("--revision", help="branch, tag or commit on the Hugging Face Hub")

    def handle(self, *args: Any, **options: Any) -> None:
        """Put the model into BASE_MODELS_DIR."""
        try:
            target = base_models.add(name=options["name"], source=options["folder"]) if options["folder"] else _fetch(options["name"], options["revision"])
        except HubError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(f"{options['name']} is in {target}.")


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    with tempfile.TemporaryDirectory(dir=settings.WORK_DIR) as temporary:
        snapshot_download(name, revision=revision, allow_patterns=FILES, local_dir=temporary)
        return base_models.add(name=name, source=Path(temporary))
