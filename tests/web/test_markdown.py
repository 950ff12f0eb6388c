"""Cards: Markdown becomes HTML, attacks become text, and nothing is loaded from elsewhere."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.web import markdown

FILES = ("README.md", "plots/loss curve.png", "plot.png", "evil.svg")


def render(text: str) -> str:
    return markdown.render(text, FILES, lambda path: f"/o/n/files/{path}")


class Elements(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def harmless(html: str) -> bool:
    """Whether nothing in it runs, loads from elsewhere, or sends anything."""
    for tag, attributes in Elements(html).found:
        if tag not in markdown.TAGS or any(name.startswith("on") or name in ("style", "srcset", "srcdoc", "action", "formaction") for name in attributes):
            return False
        if not (attributes.get("src") or "/o/n/files/").startswith("/o/n/files/"):
            return False
        if re.match(r"\s*(javascript|data|vbscript|file):", attributes.get("href") or "", re.IGNORECASE):
            return False
    return True


def test_it_works() -> None:
    html = render("# Title\n\nSome **bold** `code`.\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\n- [x] done\n\n```python\nimport os  # hi\n```\n")
    assert '<h3 id="card-title">Title</h3>' in html and "<strong>bold</strong>" in html
    assert '<td align="right">2</td>' in html and 'type="checkbox"> done</label>' in html and '<pre tabindex="0">' in html and '<table tabindex="0">' in html
    assert '<span class="kn">import</span>' in html and '<span class="c1"># hi</span>' in html


def test_formulas_become_mathml() -> None:
    html = render("Here $\\Delta W = s_i B A$.\n\n$$\n\\frac{1}{N} \\sum_{n=1}^{N} x_n\n$$\n\nIt costs $5 to $10.\n")
    assert "<msub><mi>s</mi><mi>i</mi></msub>" in html and '<math display="block"><mrow><mfrac>' in html and "It costs $5 to $10." in html


@pytest.mark.parametrize(
    "source",
    [
        r"\text{<script>alert(1)</script><img src=//evil.example/x.png onerror=alert(1)>}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(//evil.example)}{x}",
        r"</math><img src=//evil.example/x.png>",
        r"\text{</mtext></math><style>*{display:none}</style>}",
    ],
)
def test_formulas_carry_nothing_in(source: str) -> None:
    html = render(f"${source}$\n\n$$\n{source}\n$$")
    assert harmless(html) and "math" in html and "style=" not in html


def test_formulas_that_are_none_stay_their_source() -> None:
    for source in (r"a_b_c", r"\newcommand{\a}{xx}\newcommand{\b}{\a\a}\b", "{" * 500 + "}" * 500, r"\sqrt " * 300, "x" * 3000, r"\left("):
        html = render(f"${source.strip()}$")
        assert "<code>" in html and "<math" not in html, source[:30]


FORMULAS = {"many": "$x_1$ " * 33_000, "blocks": "$$\nx\n$$\n\n" * 20_000, "long": ("$" + "x+y=" * 450 + "$ ") * 100, "open": "$a " * 66_000}


@pytest.mark.parametrize("text", FORMULAS.values(), ids=FORMULAS)
def test_very_many_formulas_do_not_take_long(text: str) -> None:
    start = time.process_time()
    html = render(text)
    assert time.process_time() - start < 30 and html.count("<math") <= 500


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](https://tracker.example/p.png)",
    "![x](//tracker.example/p.png)",
    "![x](evil.svg)",
    '![x](plot.png "a\\" onload=\\"alert(1)")',
    '[x](https://a.example "q\\" onclick=\\"alert(1)")',
    "<iframe src=https://evil.example></iframe>",
    "<style>body{display:none}</style>",
    "<form action=https://evil.example><input name=p></form>",
    "<meta http-equiv=refresh content=0>",
    "```x onmouseover=alert(1)\ncode\n```",
    '```"><script>alert(1)</script>\ncode\n```',
    "# x {onclick=alert(1)}",
    "[x]: javascript:alert(1)\n\n[x]",
    "<!-- --><script>alert(1)</script>",
    "<details open ontoggle=alert(1)>",
    "[x](http://[::1/)",
    "![x](http://[::1/)",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_become_text(attack: str) -> None:
    assert harmless(render(attack)), render(attack)


def test_a_script_shows_as_text() -> None:
    assert render("<script>alert(1)</script>") == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n" or "&lt;script&gt;" in render("<script>alert(1)</script>")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="<>\"'`[]()!#*_-=:/\\&; \njavscriptonerldt:x1", max_size=80))
def test_anything_is_harmless(text: str) -> None:
    assert harmless(render(text))


def test_images_of_the_revision_are_shown() -> None:
    assert '<img src="/o/n/files/plot.png"' in render("![A plot](plot.png)") and 'alt="A plot"' in render("![A plot](./plot.png)")
    assert '<img src="/o/n/files/plots/loss' in render("![x](<plots/loss curve.png>)")


def test_images_from_elsewhere_become_links() -> None:
    html = render("![A plot](https://a.example/p.png)")
    assert "<img" not in html and 'href="https://a.example/p.png"' in html and "[A plot]" in html


def test_links() -> None:
    assert 'href="/o/n/files/README.md"' in render("[x](README.md)") and 'href="/o/n/files/README.md"' in render("[x](./README.md#part)")
    assert "href" not in render("[x](missing.md)") and "href" not in render("[x](../other/README.md)")
    assert 'href="#card-limits"' in render("[x](#limits)") and 'id="card-limits"' in render("## Limits")
    for link in ("https://a.example", "mailto:a@example.org", "/acme/sums"):
        assert f'href="{link}" rel="nofollow noopener noreferrer"' in render(f"[x]({link})")


def test_an_id_cannot_take_the_place_of_a_part_of_the_page() -> None:
    ids = re.findall(r'id="([^"]+)"', render("# files\n\n# card\n\n# main\n\n[^files]\n\n[^files]: x"))
    assert ids and all(name.startswith(("card-", "fn")) for name in ids)


def test_headings_fit_below_the_pages_own() -> None:
    html = render("# a\n\n## b\n\n##### c\n\nd\n=\n")
    assert "<h1" not in html and "<h2" not in html and html.count("<h3") == 2 and "<h4" in html and "<h6" in html


def test_long_cards_and_deep_nesting_end() -> None:
    assert len(render("a " * 500_000)) <= markdown.MAX_CARD + 100
    for odd in ("> " * 3000 + "x", "[" * 20_000, "*a " * 20_000, "- " * 2000 + "x", "`" * 50_000, "|" * 20_000, "![" * 10_000):
        assert harmless(render(odd))


COSTLY = {"headings": "#\n", "titles": "# a\n", "tasks": "- [ ] a\n", "images": "![", "links": "[a](", "emphasis": "*a_ ", "strong": "**a "}


@pytest.mark.parametrize("piece", COSTLY.values(), ids=COSTLY)
def test_what_is_made_to_take_long_is_shown_as_it_was_written(piece: str) -> None:
    start = time.process_time()
    html = render(piece * (markdown.MAX_CARD // len(piece)))
    assert time.process_time() - start < 20, "a small part of this; without a bound, hours"
    assert html.startswith("<pre") and html.count("<") == 4


def test_a_long_list_of_links_and_tasks_is_none_of_that() -> None:
    html = render("# A\n\n" + "- [x] done\n" * 400 + "\n| a | b |\n|---|---|\n" + "| [a](https://example.org) | *b* |\n" * 1500 + "\n## B\n" * 300)
    assert html.count("<input") == 400 and html.count("<a href") == 1500 and html.count("<h4") == 300
