"""Keeps what searching reads in step with the adapters: their words and their facets."""

import re
from collections.abc import Iterator

from django.db import transaction

from hub import labels
from hub.models import Adapter, Facet, SearchText
from hub.services.fulltext import WORD

MAX_BODY = 50_000
BATCH = 200
LABEL = "label"  # the facet that Hugging Face clients filter by, in lower case
_PART = re.compile(r"Q?LoRA|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


def refresh(adapter: Adapter) -> None:
    """Write the words and facets of an adapter anew; called inside the transaction that changed it."""
    text, facets = written(adapter, list(adapter.tags.values_list("name", flat=True)))
    before = {(row.name, row.value): row.pk for row in adapter.facets.all()}
    Facet.objects.filter(pk__in=[pk for key, pk in before.items() if key not in facets]).delete()
    Facet.objects.bulk_create([Facet(adapter=adapter, name=name, value=value) for name, value in sorted(facets - before.keys())], ignore_conflicts=True)
    SearchText.objects.update_or_create(adapter=adapter, defaults=text)


def written(adapter: Adapter, tags: list[str]) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Return what is indexed of an adapter with these tags: the columns of its SearchText, and the names and values of its facets."""
    facets = set(_facets(adapter, tags))
    title = f"{adapter.owner.username} {adapter.name}"
    words = " ".join([*tags, *(value for name, value in sorted(facets) if name in ("task", "base_model", "dataset", "licence"))])
    text = {
        "title": f"{_spaced(title)} {_parts(title)}",
        "words": f"{_spaced(words)} {_parts(words)}"[:MAX_BODY],
        "body": _spaced(f"{adapter.summary}\n{adapter.card_text}"[:MAX_BODY]),
    }
    return text, facets


def catch_up(*, everything: bool = False) -> int:
    """Index what has no words yet (after an upgrade), or everything; return how many adapters that were."""
    rows = Adapter.objects.select_related("owner", "head").order_by("pk")
    done, after = 0, 0
    while batch := list((rows if everything else rows.filter(search_text=None)).filter(pk__gt=after)[:BATCH]):
        for adapter in batch:
            with transaction.atomic():
                refresh(adapter)
        done, after = done + len(batch), batch[-1].pk
    return done


def _facets(adapter: Adapter, tags: list[str]) -> Iterator[tuple[str, str]]:
    data = adapter.card_data
    facts = adapter.head.facts_or_empty if adapter.head else {}
    yield "made", "composed" if adapter.composed else "uploaded"
    found = {
        "base_model": [adapter.base_model],
        "licence": [adapter.licence.lower()],
        "peft_type": [adapter.peft_type],
        "rank": [str(adapter.rank or "")],
        "task": [labels.pipeline(str(facts.get("task_type") or ""), _text(data.get("pipeline_tag")))],
        "language": _texts(data.get("language")),
        "dataset": _texts(data.get("datasets")),
        "tag": tags,
        LABEL: [label.lower() for label in (*labels.unpack(adapter.labels), *tags)],
    }
    for name, values in found.items():
        for value in values:
            if 0 < len(value) <= labels.MAX_LABEL:
                yield name, value


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in map(_text, values[:50]) if text]


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _spaced(text: str) -> str:
    """The words as queries have them, and nothing between: a parser of its own mind takes "number-1" for a word and a negative number."""
    return " ".join(WORD.findall(text))


def _parts(text: str) -> str:
    """The parts of names that are written together, "SmolLM2Lora" as "Smol LM 2 Lora"; what is one part already is left out."""
    return " ".join(part for word in WORD.findall(text) for part in _PART.findall(word) if part != word)
