"""How the card and the recipe of a composed adapter are written, and written again under another name; without torch."""

import json
import re
from collections.abc import Mapping
from typing import Any


def text(words: str) -> str:
    """Show user-controlled words as they are: no Markdown, no HTML, one line."""
    line = " ".join(words.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$@:])", r"\\\1", line)


def heading(repo_id: str) -> str:
    """The line that a card's words begin with."""
    return f"# {text(repo_id)}\n"


def renamed(card: str, was: str, now: str) -> str:
    """The card of the adapter `was` as that of `now`: in its heading, and in its code."""
    return card.replace(heading(was), heading(now)).replace(repr(was), repr(now))


def recipe(found: Mapping[str, Any]) -> str:
    """The content of recipe.json."""
    return json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
