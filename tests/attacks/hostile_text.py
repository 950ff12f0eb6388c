"""Reads very much of each hostile kind by everything that reads texts of strangers; the kernel ends it where one area takes more than its seconds of work.

What is linear takes a small part of one second. Run as a process of its own; the last line that it prints names the area under way.
"""

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress

import django

django.setup()

import hub.files  # noqa: E402  (after the setup that the models need)
import hub.logs  # noqa: E402
from hub import adapter_format, card, file_rules, strict_json  # noqa: E402
from hub.errors import HubError  # noqa: E402
from hub.hf import commits, lfs  # noqa: E402
from hub.models import accounts, adapters  # noqa: E402
from hub.services import fulltext, imports, logins, refs, search, suggestions, texts, upstream  # noqa: E402
from hub.web import device, examples, markdown  # noqa: E402

SIZE, SECONDS = 12_000, 20
PIECES = ["a", "a.", "[", "(", "*", "_", "`", "<", "<!--", "![", "[x](", "a@", " ", "\t", "\n", "- ", "> ", "&", "&#", "$", "|", "|-", "\\", "~", ":", "a-"]
PIECES += ["\u0301", "\U0001f468\u200d", "[^1]", "*a_", "http://", "--", "{", '"', ",", "a: &a [*a, *a]\n", "? ", "!!", "%", "'", "a;", "1", "0x", "../", "|a"]
PIECES += ["$a", "\\(", "**", "](", "x\n=", "- [ ] ", "<a ", "&amp", "[a]: b\n", "#", "\r", "a b", "]]", "<?", "<![", ")", "\\frac{"]


def words() -> Iterator[str]:
    """Yield each piece again and again, alone, and between others."""
    for piece in PIECES:
        body = piece * (SIZE // len(piece))
        yield body
        yield f"a{body[: SIZE // 10]}!"


def _quietly(read: Callable[[], object]) -> None:
    with suppress(HubError, ValueError):
        read()


def cards(word: str) -> None:
    """A card with it as text, as front matter, as a value, and as both."""
    front = word[:1_500]
    for text in (word, f"---\n{front}\n---\n{word}", f"---\na: {front}\n---\n", f'---\na: "{front}"\n---\n'):
        _quietly(lambda text=text: card.parse(text))


def patterns(word: str) -> None:
    """Every regular expression that stands in a module of ours and is held against what strangers send."""
    word *= 4
    for module in (accounts, adapters, imports, refs, logins, commits, lfs, device, fulltext, upstream, hub.files, hub.logs, file_rules, suggestions):
        for pattern in [value for value in vars(module).values() if isinstance(value, re.Pattern) and isinstance(value.pattern, str)]:
            _ = pattern.fullmatch(word), pattern.match(word), pattern.search(word[:20_000]), pattern.sub("", word[:20_000])


AREAS: dict[str, Callable[[str], object]] = {
    "cards": cards,
    "Markdown": lambda word: markdown.render(word, [], lambda path: ""),
    "comments": lambda word: markdown.comment(word[:5_000]),
    "patterns": patterns,
    "search": lambda word: _quietly(lambda: search.wanted(q=texts.storable(word))),
    "examples": lambda word: _quietly(lambda: examples.read_text(word)),
    "JSON": lambda word: _quietly(lambda: strict_json.loads(word.encode())),
    "paths": lambda word: _quietly(lambda: adapter_format.check_paths([word[:10_000]])),
}


def main() -> None:
    """Go through the areas, each with its own limit."""
    for name, read in AREAS.items():
        print(name, flush=True)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS, resource.RLIM_INFINITY))
        for word in words():
            read(word)
    print("all")


if __name__ == "__main__":
    main()
