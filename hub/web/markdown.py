"""Renders cards and comments: Markdown in, HTML out that cannot run, load or imitate anything."""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.tasklists import tasklists_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from hub.web import formulas

MAX_CARD = 100_000
MAX_HIGHLIGHTED = 20_000
# What takes the square of its number to parse. No real card comes near; one made to keep a server busy is shown as it was written.
MAX_HEADINGS, MAX_TASKS = 1000, 500
MAX_SCANNED = 500_000_000  # characters; each sign that may open something is looked for a partner up to the end of its paragraph
OPENING = "[*_$~<`"
PREFIX = "card-"  # of every id, so that a card cannot take the place of a part of the page
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
TAGS = {
    *("a", "blockquote", "br", "code", "dd", "div", "dl", "dt", "em", "h3", "h4", "h5", "h6", "hr", "img", "input", "label", "li", "ol", "p", "pre"),
    *("s", "section", "span", "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    *formulas.TAGS,
}
ATTRIBUTES = {
    "a": {"href", "id", "class", "aria-label"},
    "img": {"src", "alt", "title", "loading"},
    "input": {"type", "checked", "disabled", "class"},
    "code": {"class"},
    "span": {"class"},
    "div": {"class", "tabindex"},
    "section": {"class"},
    "li": {"class", "id"},
    "ul": {"class"},
    "ol": {"start", "class"},
    "sup": {"class"},
    "th": {"align"},
    "td": {"align"},
    **{f"h{n}": {"id"} for n in range(3, 7)},
    **formulas.ATTRIBUTES,
}
ALIGN = {"text-align:left": "left", "text-align:right": "right", "text-align:center": "center"}
COMMENT_TAGS = {"a", "blockquote", "br", "code", "em", "li", "ol", "p", "pre", "s", "strong", "ul"}
Link = Callable[[str], str]  # the address of a file of the revision


def render(text: str, files: Sequence[str], link: Link) -> str:
    """Return the card as HTML. Relative links and images point to `files` of the same revision; other images become links, so no request leaves the site."""
    env = {"files": frozenset(files), "link": link}
    html = PARSER.render(text[:MAX_CARD], env)
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        set_tag_attribute_values={"pre": {"tabindex": "0"}, "table": {"tabindex": "0"}},  # what is wider than the page is scrolled with the keys
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
    )


@lru_cache(1000)
def comment(text: str) -> str:
    """Return a comment as HTML: words, links, lists, quotes and code; nothing that takes more room than its words."""
    html = COMMENTS.render(text, {"files": frozenset(), "link": str})
    return nh3.clean(html, tags=COMMENT_TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"}, link_rel="nofollow noopener noreferrer")


def _comment_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True}).enable("strikethrough")
    # Headings would imitate the page's own. A reference is written once and repeated for two characters each: a few kilobytes would become megabytes.
    parser.disable(["heading", "lheading", "hr", "reference"])
    parser.core.ruler.push("medley", _rewrite)
    return parser


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "highlight": _highlight}).enable(["table", "strikethrough"])
    parser.use(footnote_plugin).use(deflist_plugin).use(tasklists_plugin, label=True)
    parser.use(dollarmath_plugin, allow_labels=False, allow_space=False, allow_digits=False, allow_blank_lines=False, double_inline=True)
    for kind in ("math_inline", "math_inline_double", "math_block"):
        parser.add_render_rule(kind, _formula)
    parser.use(anchors_plugin, max_level=6, slug_func=lambda title: PREFIX + "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split()))
    parser.core.ruler.after("block", "costs", _bound)
    parser.core.ruler.push("medley", _rewrite)
    return parser


def _bound(state: StateCore) -> None:
    """Leave a text of too many headings, tasks or open brackets as it is."""
    inline = [token.content for token in state.tokens if token.type == "inline"]
    headings = sum(token.type == "heading_open" for token in state.tokens)
    tasks = sum(content[:3].lower() in ("[ ]", "[x]") for content in inline)
    scanned = sum(len(content) * sum(map(content.count, OPENING)) for content in inline)
    if headings > MAX_HEADINGS or tasks > MAX_TASKS or scanned > MAX_SCANNED:
        state.tokens = [Token("code_block", "code", 0, content=state.src)]


def _highlight(code: str, language: str, _: str) -> str:
    if not language or len(code) > MAX_HIGHLIGHTED:
        return ""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return highlight(code, lexer, HtmlFormatter(nowrap=True))


def _formula(_: object, tokens: Sequence[Token], place: int, options: object, env: dict[str, Any]) -> str:
    token = tokens[place]
    budget = env.setdefault("formulas", formulas.Budget())
    html = formulas.render(token.content, budget, block=token.type != "math_inline")
    return f'<div class="math block" tabindex="0">{html}</div>\n' if token.type == "math_block" else html


def _rewrite(state: StateCore) -> None:
    """Make headings fit below the page's own, give aligned cells an attribute, and point links and images to where they may go."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        elif token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrs["align"] = ALIGN.get(str(token.attrs.pop("style")), "left")
        for child in token.children or ():
            if child.type == "link_open" and (target := _target(str(child.attrs.pop("href", "")), state.env)):
                child.attrs["href"] = target
        if token.children:
            token.children = [found for child in token.children for found in ([child] if child.type != "image" else _image(child, state.env))]


def _target(href: str, env: Mapping[str, object]) -> str:
    if href.startswith("#"):
        return f"#{PREFIX}{href[1:]}" if not href.startswith((f"#{PREFIX}", "#fn")) else href
    parts = _split(href)
    if parts.scheme or parts.netloc or href.startswith("/"):
        return href
    return _file(parts.path, env)


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _file(path: str, env: Mapping[str, object]) -> str:
    """Return the address of a file of the revision, or nothing when there is no such file."""
    name = posixpath.normpath(unquote(path))
    files, link = env["files"], env["link"]
    return link(name) if name in files else ""  # type: ignore[operator]


def _image(token: Token, env: Mapping[str, object]) -> list[Token]:
    """Keep an image of the revision; turn any other into a link to it, or into its description."""
    source, words = str(token.attrs.get("src", "")), token.content or "image"
    parts = _split(source)
    is_here = not parts.scheme and not parts.netloc and not source.startswith("/") and parts.path.lower().endswith(IMAGE_SUFFIXES)
    address = _file(parts.path, env) if is_here else ""
    if address:
        token.attrs.update({"src": address, "loading": "lazy"})
        return [token]
    text = Token("text", "", 0, content=f"[{words}]")
    if parts.scheme not in ("http", "https"):
        return [text]
    return [Token("link_open", "a", 1, attrs={"href": source}), text, Token("link_close", "a", -1)]


PARSER = _parser()
COMMENTS = _comment_parser()
