"""Reads an adapter's card, README.md: the YAML front matter as plain bounded data, and one line that sums it up."""

import html
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from hub.errors import HubError

MAX_CARD = 1_000_000
MAX_FRONT_MATTER = 64_000
MAX_DEPTH = 12
MAX_TOKENS = 20_000
MAX_ITEMS = 50  # of tags, languages, datasets
MAX_ITEM = 100
MAX_SUMMARY = 200
_SUMMARY_SOURCE = 50_000
_PARAGRAPH_SOURCE = 2_000

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)(?:^|\n)---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_NOT_PROSE = re.compile(r"#|\||```|~~~|[-*+] |\d+[.)] |---|===|\*\*\*|>|<")
_PLACEHOLDER = re.compile(r"\[?more information needed\]?\.?|\[?todo\]?\.?", re.IGNORECASE)
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_NOTHING = re.compile(r"(?!)")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_EMPHASIS = re.compile(r"\*+|`+|~~|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])")
_MARK = re.compile(r"^\s*(?:>\s*|#+\s+|[-*+]\s+|\d+[.)]\s+|```.*|~~~.*)+")
_UNDERLINE = re.compile(r"=+|-+")


@dataclass(frozen=True)
class Card:
    licence: str
    tags: list[str]
    languages: list[str]
    base_model: str
    datasets: list[str]
    pipeline_tag: str
    summary: str  # the first paragraph of prose as plain text
    body: str  # Markdown without the front matter
    data: dict[str, Any]  # the whole front matter, as JSON can hold it


class _Loader(yaml.SafeLoader):
    """Keeps "no" (the language), dates and 1:20 as the texts they are."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _starts in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18}|[0-9]{1,18}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _starts)


def parse(text: str) -> Card:
    """The card, or HubError "card-invalid" where the front matter is no sound YAML; values of unexpected types are dropped."""
    if len(text) > MAX_CARD:
        raise HubError("card-invalid", f"README.md is longer than {MAX_CARD:,} characters. Move the long parts into files of their own.")
    text = _clean(text.removeprefix("\ufeff")).replace("\r\n", "\n").replace("\r", "\n")
    found = _FRONT_MATTER.match(text)
    data = _front_matter(found[1]) if found else {}
    body = (text[found.end() :] if found else text).strip("\n")
    return Card(
        licence=_first(data.get("license")),
        tags=_texts(data.get("tags")),
        languages=_texts(data.get("language")),
        base_model=_first(data.get("base_model"), 200),
        datasets=_texts(data.get("datasets")),
        pipeline_tag=_first(data.get("pipeline_tag")),
        summary=_summary(body),
        body=body,
        data=data,
    )


def _front_matter(text: str) -> dict[str, Any]:
    if len(text) > MAX_FRONT_MATTER:
        raise _invalid(f"it is longer than {MAX_FRONT_MATTER:,} characters")
    try:
        _check_tokens(text)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader with fewer types)  # nosec B506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _invalid(_one_line(error.problem or error.context or "it cannot be read"), mark.line if mark else None) from None
    except yaml.YAMLError:
        raise _invalid("it holds characters that YAML does not allow") from None
    except (ValueError, OverflowError):
        # PyYAML lets Python's own complaint about an escape such as "\\UFFFFFFFF" through.
        raise _invalid("one of its values cannot be read") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise _invalid("it is not a list of names and values such as license: apache-2.0", 0)
    plain = _plain(data, MAX_DEPTH)
    return plain if isinstance(plain, dict) else {}


def _check_tokens(text: str) -> None:
    """Refuse what makes a small YAML text large or deep, while it is still a stream of tokens."""
    depth = 0
    for count, token in enumerate(yaml.scan(text, Loader=_Loader)):
        line = token.start_mark.line
        if isinstance(token, (yaml.AnchorToken, yaml.AliasToken)):
            raise _invalid("anchors and aliases (& and *) are not taken; write the value out, or put it into quotes", line)
        if isinstance(token, (yaml.TagToken, yaml.DirectiveToken, yaml.DocumentStartToken)):
            raise _invalid("tags (!), directives (%) and several documents are not taken", line)
        depth += isinstance(token, (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken))
        depth -= isinstance(token, (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken))
        if depth > MAX_DEPTH:
            raise _invalid("it is nested too deeply", line)
        if count > MAX_TOKENS:
            raise _invalid("it has too many entries", line)


def _invalid(why: str, line: int | None = None) -> HubError:
    # Line 1 of the file is the "---" in front of it.
    where = f" in line {line + 2}" if line is not None else ""
    return HubError("card-invalid", f"The front matter of README.md cannot be read{where}: {why}.", fields={"README.md": f"{why[:1].upper()}{why[1:]}{where}."})


def _plain(value: Any, depth: int) -> Any:
    """`value` as JSON and a database can hold it; what they cannot becomes None."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict) and depth:
        return {_clean(str(key)): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list) and depth:
        return [_plain(item, depth - 1) for item in value]
    return value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else None


def _clean(text: str) -> str:
    """`text` without NUL, other control characters and lone surrogates, which no database takes."""
    return "".join(character for character in text if character in "\n\t\r" or not _is_refused(ord(character)))


def _is_refused(code: int) -> bool:
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000


def _one_line(text: str) -> str:
    return " ".join(_clean(text).split())[:200].rstrip(".")


def _texts(value: Any, limit: int = MAX_ITEM) -> list[str]:
    items: Iterable[Any] = value if isinstance(value, list) else [value]
    texts = (" ".join(item.split()) for item in items if isinstance(item, str))
    return list(dict.fromkeys(text for text in texts if 0 < len(text) <= limit))[:MAX_ITEMS]


def _first(value: Any, limit: int = MAX_ITEM) -> str:
    return next(iter(_texts(value, limit)), "")


def plain(markdown: str) -> str:
    """Return the words of a comment in one line: no marks, and no quotation or code where there are other words. HTML is text in comments, and stays."""
    text = markdown[:_SUMMARY_SOURCE]
    return _plain_text(" ".join(_paragraphs(text)) or " ".join(_MARK.sub("", line) for line in text.split("\n")), _NOTHING)


def _summary(body: str) -> str:
    for paragraph in _paragraphs(_without_comments(body[:_SUMMARY_SOURCE])):
        text = _plain_text(paragraph[:_PARAGRAPH_SOURCE])
        if any(character.isalpha() for character in text) and not _PLACEHOLDER.fullmatch(text):
            return text if len(text) <= MAX_SUMMARY else f"{text[: MAX_SUMMARY - 3].rpartition(' ')[0] or text[: MAX_SUMMARY - 3]}..."
    return ""


def _without_comments(text: str) -> str:
    kept = []
    while text:
        before, mark, rest = text.partition("<!--")
        kept.append(before)
        text = rest.partition("-->")[2] if mark else ""
    return "".join(kept)


def _paragraphs(text: str) -> Iterator[str]:
    """Runs of prose lines: no headings, lists, tables, quotations, code or HTML blocks."""
    lines: list[str] = []
    fence = ""
    for line in [*text.split("\n"), ""]:
        stripped = line.strip()
        opens = stripped[:3] if stripped[:3] in ("```", "~~~") else ""
        if fence or opens:
            fence = "" if fence and opens == fence else fence or opens
            stripped = ""
        if _UNDERLINE.fullmatch(stripped):
            lines = []  # what stood above is a heading
        elif stripped and not _NOT_PROSE.match(stripped) and not (not lines and line.startswith(("    ", "\t"))):
            lines.append(stripped)
        elif lines:
            yield " ".join(lines)
            lines = []


def _plain_text(markdown: str, left_out: re.Pattern[str] = _TAG) -> str:
    text = _IMAGE.sub("", markdown)
    text = _LINK.sub(r"\1", text)
    # What a backslash escapes is meant as it is: every second part is one such character.
    parts = _ESCAPED.split(text)
    parts[::2] = (html.unescape(_EMPHASIS.sub("", left_out.sub("", part))) for part in parts[::2])
    return " ".join("".join(parts).split())
