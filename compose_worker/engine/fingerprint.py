"""Tells one version of a base model's folder from another in milliseconds, however large it is; loads without torch."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

WEIGHTS = (".safetensors", ".safetensors.index.json")
OTHERS = ("config.json", "tokenizer", "special_tokens", "added_tokens", "vocab", "merges", "spiece", "sentencepiece", "source.spm", "target.spm")
PAGES, PAGE = 64, 16_384  # of a file: one of a megabyte is read whole, and training changes every page of weights


def of(folder: str | Path) -> str:
    """Return 32 hex digits that change with the configuration, the tokenizer or the weights in a folder."""
    known = hashlib.sha256()
    for file in _files(folder):
        size = file.stat().st_size
        known.update(f"{file.name}\n{size}\n".encode())
        with file.open("rb") as stream:
            for page in range(min(PAGES, -(-size // PAGE))):
                stream.seek(page * max(PAGE, size // PAGES))
                known.update(stream.read(PAGE))
    return known.hexdigest()[:32]


def touched(folder: str | Path) -> int:
    """Return when one of these files was last written, in nanoseconds: on one machine that tells of smaller changes too."""
    return max((file.stat().st_mtime_ns for file in _files(folder)), default=0)


def _files(folder: str | Path) -> Iterator[Path]:
    yield from sorted(path for path in Path(folder).glob("*") if path.is_file() and (path.name.endswith(WEIGHTS) or path.name.startswith(OTHERS)))
