"""Suggests adapters for a task from words alone, each with its reasons: no model is asked, so it costs a query and a count of words."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q
from django.db.models.functions import Substr

from hub.models import Adapter, Parent
from hub.services import search, texts
from hub.services.tag_synonyms import SYNONYMS

if TYPE_CHECKING:
    from hub.models.adapters import Actor

LOOKED_AT = 500  # adapters, the most downloaded
CARD = 4_000  # characters of a card that are read
TEXT = 20_000  # characters of the task's description and examples that are read
WORDS = 400  # of the task, the most frequent
SUGGESTED = 6
SHOWN_WORDS = 4
IN_TITLE, IN_TAGS, IN_CARD = 3.0, 3.0, 1.0  # how much a word counts by where it stands
USED = 0.25  # of a point for each doubling of the compositions that an adapter took part in
_WORD = re.compile(r"[^\W\d_]{3,40}")
# Words that tell tasks apart as little as adapters.
_COMMON = frozenset(
    """
    the and for are was were that this with from what which who how when where why your you not but has have had its his her their them they our out all any can
    will would should one two more than then into over under about after before been being does did each some such only other also use used using model adapter
    lora answer answers question questions input output text base rank trained training example examples task following given write true false yes peft
    transformers library tags license apache mit
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Suggestion:
    """An adapter, and why."""

    adapter: Adapter
    reasons: list[str]


def for_task(*, actor: "Actor", base_model: str, description: str, examples: Sequence[Any], private: bool = False) -> list[Suggestion]:
    """Return the adapters whose words fit the task best, with the reasons in words. Adapters with nothing in common are not suggested."""
    wanted = _of_task(description, examples)
    if not wanted:
        return []
    rows = (
        Adapter.objects.adapters().readable_by(actor).filter(base_model=texts.storable(base_model, 200), composable=True, head__isnull=False, archived_at=None)
    )
    if not private:
        rows = rows.filter(Q(private=False) & (Q(gated="") | Q(owner_id=actor.pk)))
    found = list(
        rows.for_listing(whole=True)
        .defer("head__facts", "head__model", "labels")
        .annotate(card_start=Substr("card_text", 1, CARD))
        .order_by("-downloads", "pk")[:LOOKED_AT]
    )
    words = {a.pk: _Words(a) for a in found}
    rarity = _rarity(words.values())
    scored = []
    for adapter in found:
        score, reasons = words[adapter.pk].compare(wanted, rarity)
        if score > 0:
            scored.append((score, adapter, reasons))
    best = sorted(scored, key=lambda item: -item[0])[: 2 * SUGGESTED]
    uses = _uses(actor, [adapter.pk for _, adapter, _ in best])
    ranked = sorted(best, key=lambda item: (-item[0] - USED * math.log2(1 + uses.get(item[1].pk, 0)), item[1].pk))[:SUGGESTED]
    return [Suggestion(adapter, [*reasons, *_standing(adapter, uses.get(adapter.pk, 0))]) for _, adapter, reasons in ranked]


class _Words:
    """The words of an adapter by where they stand."""

    def __init__(self, adapter: Adapter) -> None:
        self.tags = {tag.name for tag in adapter.tags.all()}
        self.title = _words(adapter.name)
        self.of_tags = {word for tag in self.tags for word in _words(tag)}
        self.card = _words(f"{adapter.summary} {adapter.card_start}")  # type: ignore[attr-defined]
        self.all = self.title | self.of_tags | self.card

    def compare(self, wanted: Mapping[str, int], rarity: Mapping[str, float]) -> tuple[float, list[str]]:
        """Return how well the adapter fits, and why in words."""
        meant = {other for word in wanted for other in SYNONYMS.get(word, ())}
        tags = sorted(tag for tag in self.tags if tag in meant or _words(tag) & wanted.keys())
        title = self.title & wanted.keys()
        card = (self.card & wanted.keys()) - title - {word for tag in tags for word in _words(tag)}
        score = IN_TITLE * sum(rarity[w] for w in title) + IN_TAGS * len(tags) + IN_CARD * sum(rarity[w] for w in card)
        reasons = []
        if tags:
            reasons.append(f"tagged {_listed(tags)}")
        if title:
            reasons.append(f"its name says {_listed(_first(title, rarity))}")
        if card:
            reasons.append(f"its card also says {_listed(_first(card, rarity))}" if reasons else f"its card says {_listed(_first(card, rarity))}")
        return score, reasons


def _of_task(description: str, examples: Sequence[Any]) -> dict[str, int]:
    """The words of the task; each example counts a word once, so that a long one does not drown the others."""
    counts = Counter(_words(description[:TEXT]))
    left = TEXT
    for example in examples:
        if isinstance(example, Mapping) and left > 0:
            text = f"{example.get('input', '')} {example.get('output', '')}"[:left]
            left -= len(text)
            counts.update(_words(text))
    return dict(counts.most_common(WORDS))


def _words(text: str) -> set[str]:
    return {_stem(word) for word in _WORD.findall(text.lower().replace("_", " ")) if word not in _COMMON}


def _stem(word: str) -> str:
    """One form for singular and plural."""
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word


def _rarity(found: Iterable[_Words]) -> Counter[str]:
    """How much each word tells an adapter apart: words that all have tell nothing."""
    everywhere: Counter[str] = Counter()
    count = 0
    for one in found:
        everywhere.update(one.all)
        count += 1
    return Counter({word: math.log((count + 1) / number) for word, number in everywhere.items()})


def _first(words: Iterable[str], rarity: Mapping[str, float]) -> list[str]:
    return sorted(words, key=lambda word: (-rarity[word], word))[:SHOWN_WORDS]


def _listed(words: Sequence[str]) -> str:
    quoted = [f"“{word}”" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _uses(actor: "Actor", ids: Sequence[int]) -> dict[int, int]:
    """In how many composed adapters each took part, as far as the actor may see them."""
    seen = Adapter.objects.visible_to(actor)
    rows = Parent.objects.filter(adapter__in=ids, revision__adapter__in=seen).order_by().values_list("adapter")
    return dict(rows.annotate(n=Count("revision__adapter", distinct=True)))


def _standing(adapter: Adapter, uses: int) -> list[str]:
    """What others made of it."""
    found = [f"used in {uses} composition{'' if uses == 1 else 's'}"] if uses else []
    if reported := _reported(adapter.card_data):
        found.append(f"its card reports {reported}")
    return found


def _reported(card: Any) -> str:
    """The first result that a card claims: its metric, number and data set."""
    try:
        result = card["model-index"][0]["results"][0]
        metric = result["metrics"][0]
        value = float(metric["value"])
        name, data = str(metric.get("name") or metric["type"])[:40], str(result["dataset"]["name"])[:60]
    except (KeyError, IndexError, TypeError, ValueError):
        return ""
    return f"{name} {value:g} on {data}"


def tags(*, actor: "Actor", text: str, limit: int = 8) -> list[str]:
    """Return tags in use, on adapters that the actor may see, that a text speaks of: by the word itself, or by another one for it."""
    words = _words(text[:TEXT])
    if not words:
        return []
    meant = {other for word in words for other in SYNONYMS.get(word, ())}
    found = [value for value, _ in search.in_use(actor=actor).most_common() if value in meant or ((parts := _words(value)) and parts <= words)]
    return found[:limit]
