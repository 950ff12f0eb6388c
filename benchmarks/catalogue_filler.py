"""Fills a hub with made-up adapters, straight into the tables: names, cards, tags and facets with the skew that real catalogues have."""

import dataclasses
import hashlib
import random
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from hub import adapter_format, labels
from hub.models import Adapter, BaseModel, Blob, Facet, Parent, Revision, RevisionFile, SearchText, Tag, User
from hub.services import index

BATCH = 500
ADAPTER = Path(__file__).resolve().parent.parent / "demo" / "adapters" / "arith-lab" / "two-digit-addition"
SYLLABLES = ("ba", "cor", "del", "fen", "gri", "hol", "jun", "kem", "lor", "mas", "nit", "pol", "quen", "ris", "sor", "tam", "ul", "vex", "wen", "zor")
LICENCES = ("apache-2.0", "mit", "cc-by-4.0", "llama3.2", "openrail", "cc-by-nc-4.0")
TASKS = ("text-generation", "text-classification", "translation", "summarization", "question-answering")
RARE = "xylophonist"  # a word that five cards hold
COMMON = "adapter"  # a word that every card holds


def fill(adapters: int, seed: int = 0) -> None:
    """Add so many adapters of a thousand people, for fifty base models, with five hundred tags."""
    draw = random.Random(seed)
    words = [_word(draw) for _ in range(3000)]
    users = User.objects.bulk_create([User(username=f"{_word(draw)}-{n}", email=f"{n}@example.org") for n in range(min(1000, 1 + adapters // 20))])
    bases = [f"{_word(draw)}/{_word(draw)}-{size}B" for size in (0.5, 1, 3, 7, 8) for _ in range(10)]
    BaseModel.objects.bulk_create([BaseModel(name=name) for name in bases], ignore_conflicts=True)
    tags = Tag.objects.bulk_create([Tag(name=name) for name in sorted({_word(draw) for _ in range(600)})[:500]])
    blobs = Blob.objects.bulk_create([Blob(sha256=hashlib.sha256(f"{seed} {n}".encode()).hexdigest(), size=1000 + n) for n in range(3)])
    for start in range(0, adapters, BATCH):
        with transaction.atomic():
            _add([_adapter(n, draw, words, users, bases) for n in range(start, min(start + BATCH, adapters))], draw, tags, blobs)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE" if connection.in_atomic_block else "VACUUM ANALYZE")


def _adapter(number: int, draw: random.Random, words: list[str], users: list[User], bases: list[str]) -> Adapter:
    text = " ".join([COMMON, *draw.choices(words, k=60), *([RARE] if number % 20_000 == 7 else [])])
    when = timezone.now() - timedelta(minutes=number)
    row = Adapter(
        owner=draw.choice(users),
        name=f"{draw.choice(words)}-{draw.choice(words)}-{number}",
        private=number % 50 == 0,
        likes=int(draw.paretovariate(1.2)) - 1,
        downloads=int(10 * draw.paretovariate(1.0)) - 10,
        trend=int(draw.paretovariate(1.1)) - 1,
        base_model=bases[min(len(bases) - 1, int(draw.paretovariate(0.6)) - 1)],
        peft_type="LORA",
        targets="q v",
        rank=draw.choice((4, 8, 8, 16, 16, 32, 64)),
        summary=text[:200],
        card_text=text,
        card_data={"license": draw.choice(LICENCES), "language": draw.choice(("en", "en", "de", "fr"))},
        licence=draw.choice(LICENCES),
        composable=number % 10 != 0,
        composed=number % 12 == 0,
        size=4_000_000,
        updated_at=when,
    )
    row.labels = labels.pack(["peft", "lora", f"base_model:adapter:{row.base_model}", f"license:{row.licence}"])
    return row


def _add(rows: list[Adapter], draw: random.Random, tags: list[Tag], blobs: list[Blob]) -> None:
    Adapter.objects.bulk_create(rows)
    revisions = [_revision(row, draw) for row in rows]
    Revision.objects.bulk_create(revisions)
    for row, revision in zip(rows, revisions, strict=True):
        row.head = revision
    Adapter.objects.bulk_update(rows, ["head"], batch_size=BATCH)
    mixed = [revision for row, revision in zip(rows, revisions, strict=True) if row.composed]
    parents = [(revision, other) for revision in mixed for other in draw.sample(rows, 4)]
    Parent.objects.bulk_create(
        [Parent(revision=revision, adapter=other, repo_id=other.repo_id, sha="0" * 40, weight=draw.uniform(-0.5, 1)) for revision, other in parents]
    )
    paths = ("README.md", "adapter_config.json", "adapter_model.safetensors")
    for path, blob in zip(paths, blobs, strict=True):
        RevisionFile.objects.bulk_create([RevisionFile(revision=revision, path=path, blob=blob) for revision in revisions])
    chosen = [{tags[min(len(tags) - 1, int(draw.paretovariate(0.4)) - 1)] for _ in range(3)} for _ in rows]
    tagged = Adapter.tags.through
    tagged.objects.bulk_create([tagged(adapter=row, tag=tag) for row, found in zip(rows, chosen, strict=True) for tag in found])
    texts, facets = [], []
    for row, found in zip(rows, chosen, strict=True):
        text, values = index.written(row, sorted(tag.name for tag in found))
        texts.append(SearchText(adapter=row, **text))
        facets += [Facet(adapter=row, name=name, value=value) for name, value in sorted(values)]
    SearchText.objects.bulk_create(texts)
    Facet.objects.bulk_create(facets)


def _revision(row: Adapter, draw: random.Random) -> Revision:
    facts = _facts() | {"base_model": row.base_model, "rank": row.rank, "task_type": draw.choice(("CAUSAL_LM", "SEQ_CLS"))}
    sha = hashlib.sha1(f"{row.pk} {row.name}".encode(), usedforsecurity=False).hexdigest()
    scores = {"base": _score(0.1), "composed": _score(0.6)} if row.composed else None
    return Revision(adapter=row, sha=sha, author=row.owner, message="Upload", created_at=row.updated_at, facts=facts, scores=scores)


def _score(accuracy: float) -> dict[str, Any]:
    return {"loss": 1.0, "accuracy": accuracy, "low": 0.0, "high": 1.0, "n": 100}


@lru_cache(maxsize=1)
def _facts() -> dict[str, Any]:
    """What inspection says of one of the demo's adapters."""
    files = [adapter_format.File(path.name, path.stat().st_size, partial(path.open, "rb")) for path in sorted(ADAPTER.iterdir())]
    found = adapter_format.inspect(files)
    assert found is not None
    return dataclasses.asdict(found)


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(SYLLABLES, k=draw.choice((2, 3, 3, 4))))
