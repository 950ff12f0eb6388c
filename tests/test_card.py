"""Cards: what is read from README.md, what is dropped, and what is refused with the line."""

import json
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import card
from hub.errors import HubError

SOUND = """---
license: apache-2.0
language: [en, no]
tags:
- lora
- arithmetic
base_model: acme/base
datasets: acme/sums
pipeline_tag: text-generation
trained_on: 2026-01-02
model-index:
- name: sums
  accuracy: 0.75
---
# Sums

Adds **two numbers** with a [small adapter](https://example.org).
It was trained in a minute.

## More
"""


def front(text):
    return card.parse(f"---\n{text}\n---\nBody.\n")


def refused(text):
    with pytest.raises(HubError) as caught:
        card.parse(text)
    assert (caught.value.code, caught.value.status) == ("card-invalid", 400)
    assert caught.value.message.isprintable()
    return caught.value.message


def test_it_works():
    found = card.parse(SOUND)
    assert found.licence == "apache-2.0"
    assert found.languages == ["en", "no"]
    assert found.tags == ["lora", "arithmetic"]
    assert found.base_model == "acme/base"
    assert found.datasets == ["acme/sums"]
    assert found.pipeline_tag == "text-generation"
    assert found.summary == "Adds two numbers with a small adapter. It was trained in a minute."
    assert found.body.startswith("# Sums\n")
    assert found.body.endswith("## More")
    assert found.data["trained_on"] == "2026-01-02"
    assert found.data["model-index"] == [{"name": "sums", "accuracy": 0.75}]


@pytest.mark.parametrize("text", ["", "Just text.", "---\nno end", "----\na: b\n---\n", "text\n---\na: b\n---\n", "---\n---\nBody."])
def test_without_front_matter(text):
    assert card.parse(text).data == {}


@pytest.mark.parametrize("text", [SOUND.replace("\n", "\r\n"), SOUND.replace("\n", "\r"), "\ufeff" + SOUND, SOUND.replace("---\n", "---  \n")])
def test_line_ends_and_byte_order_marks_do_not_matter(text):
    assert card.parse(text) == card.parse(SOUND)


def test_front_matter_alone():
    found = card.parse("---\nlicense: mit\n---")
    assert (found.licence, found.body, found.summary) == ("mit", "", "")


@pytest.mark.parametrize(
    ("text", "licence"), [("license: mit", "mit"), ("license: [mit, gpl]", "mit"), ("license: 5", ""), ("license:", ""), ("license: {a: b}", "")]
)
def test_values_of_unexpected_types_are_dropped(text, licence):
    assert front(text).licence == licence


def test_items_of_unexpected_types_are_dropped():
    assert front("tags: [lora, 2024, null, [x], {y: z}, '', lora, ' two  words ', yes, 1:20]").tags == ["lora", "two words", "yes", "1:20"]
    assert front("tags: lora").tags == ["lora"]
    assert front("tags: {a: b}").tags == []


def test_lists_and_items_are_bounded():
    assert len(front(f"tags: [{', '.join(f't{number}' for number in range(500))}]").tags) == 50
    assert front(f"tags: [{'x' * 101}, b]").tags == ["b"]


TEXTS = ["on", "no", "yes", "010", "1:20", "2026-01-01", "0x1F", "1_000", ".nan", ".inf", "9" * 5000]
VALUES = {"true": True, "False": False, "12": 12, "-3": -3, "1.5": 1.5, "1e3": 1000.0, "1.0e999": None, "~": None, "null": None}


@pytest.mark.parametrize(("text", "value"), [*zip(TEXTS, TEXTS, strict=True), *VALUES.items()])
def test_plain_values(text, value):
    assert front(f"a: {text}").data == {"a": value}


INVALID = {
    "bad syntax": ("license: mit\ntags: [a, b", 3),
    "tabs": ("license: mit\n\tb: c", 3),
    "colon in a value": ("license: mit\nname: a: b", 3),
    "list": ("- a\n- b", 2),
    "text": ("just text", 2),
    "anchor": ("license: mit\na: &x b", 3),
    "alias": ("a: *x", 2),
    "python object": ("a: !!python/object/apply:os.system ['true']", 2),
    "tag": ("license: mit\na: !!timestamp 2024-99-99", 3),
    "custom tag": ("a: !x b", 2),
    "key that is a list": ("? [a]\n: b", 2),
    "depth": ("a: " + "[" * 13 + "]" * 13, 2),
    "nesting bomb": ("a: " + "[" * 50_000, 2),
    "sequence bomb": ("- " * 30_000, 2),
    "mapping bomb": ("? " * 30_000, 2),
    "entries": ("a: [b, c]\n" * 6_000, 2_501),
    "directive": ("%YAML 1.1", 2),
}


@pytest.mark.parametrize(("text", "line"), INVALID.values(), ids=INVALID.keys())
def test_invalid_front_matter_is_refused_with_the_line(text, line):
    start = time.perf_counter()
    assert f"in line {line}:" in refused(f"---\n{text}\n---\nBody.")
    assert time.perf_counter() - start < 20


def test_billion_laughs():
    text = "a: &a [x, x]\n" + "".join(f"{chr(98 + number)}: &{chr(98 + number)} [*{chr(97 + number)}, *{chr(97 + number)}]\n" for number in range(20))
    assert "anchors" in refused(f"---\n{text}---\n")


def test_too_long():
    assert "longer" in refused("x" * 1_000_001)
    assert "longer" in refused(f"---\na: {'x' * 64_000}\n---\n")


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"', "%YAML 1." + "9" * 5000 + "\n---\na: b", "a: \ufffe"])
def test_what_yaml_cannot_say_is_refused(text):
    refused(f"---\n{text}\n---\n")


def test_characters_no_database_takes_are_left_out():
    found = card.parse('---\na: "x\\0y\\ud800z"\n"k\\0": 1\n---\nBo\0dy \ud800text\x1b.')
    assert found.data == {"a": "xyz", "k": 1}
    assert found.body == found.summary == "Body text."


BODIES = {
    "heading first": ("# Title\n\nProse here.", "Prose here."),
    "underlined heading": ("Title\n=====\nProse here.", "Prose here."),
    "badges": ("[![a](b)](c) ![d](e)\n\nProse here.", "Prose here."),
    "comments": ("<!-- a\n\nb --> \n\nProse <!-- c -->here.", "Prose here."),
    "open comment": ("Prose here.\n\n<!-- and no end", "Prose here."),
    "placeholder": ("[More Information Needed]\n\nProse here.", "Prose here."),
    "list, table, quote, code": ("- a\n1. b\n\n| c |\n\n> d\n\n```\ne\n```\n\n~~~\nf\n\ng\n~~~\n\n    h\n\nProse here.", "Prose here."),
    "markup": ("<div>x</div>\n\nProse <b>here</b>.", "Prose here."),
    "emphasis": ("**Prose** _here_ with `snake_case` and a*b.", "Prose here with snake_case and ab."),
    "several lines": ("Prose\n  here.\nMore.\n\nNot this.", "Prose here. More."),
    "nothing but signs": ("!!! ---- ...\n\nProse here.", "Prose here."),
    "nothing": ("# A\n\n- b\n", ""),
}


@pytest.mark.parametrize(("body", "summary"), BODIES.values(), ids=BODIES.keys())
def test_summary_is_the_first_paragraph_of_prose(body, summary):
    assert card.parse(body).summary == summary


def test_summary_ends_at_a_word():
    summary = card.parse("word " * 100).summary
    assert 150 < len(summary) <= 200
    assert summary.endswith("word...")
    assert len(card.parse("x" * 5000).summary) == 200


@pytest.mark.parametrize(
    "body", ["![" * 400_000, "[a](" * 250_000, "<a" * 400_000, "*" * 900_000, "<!--" * 200_000, "_a" * 400_000, "`" * 900_000, "---\n" * 200_000]
)
def test_hostile_markdown_takes_no_time(body):
    start = time.perf_counter()
    card.parse(body)
    assert time.perf_counter() - start < 20


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"%@`#?,. \n\t01\\x~<=_\0\u00e9\u2028\ud800")), max_size=60), st.text(max_size=40))
def test_any_text_is_read_or_refused(front_matter, body):
    try:
        found = card.parse(f"---\n{front_matter}\n---\n{body}")
    except HubError as error:
        assert error.code == "card-invalid"
        assert error.message.isprintable()
    else:
        # What PostgreSQL stores as jsonb and text.
        assert "\\u0000" not in json.dumps(found.data, allow_nan=False)
        assert "\0" not in found.body + found.summary
        (json.dumps(found.data, ensure_ascii=False) + found.body).encode("utf-8")
        assert len(found.summary) <= 200


def test_a_clean_interpreter_loads_no_torch_and_no_django():
    code = "import sys, hub.card, hub.adapter_format; print([name for name in ('torch', 'django', 'safetensors', 'peft') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_summary_shows_what_a_backslash_escapes():
    assert card.parse("# T\n\nBIG-bench arithmetic\\_\\_3\\_digit, a &lt; b, *really*.\n").summary == "BIG-bench arithmetic__3_digit, a < b, really."


@pytest.mark.parametrize(
    ("markdown", "said"),
    [
        ("Does it hold with **four digits**?", "Does it hold with four digits?"),
        ("> a quote\n\nYes, see [the card](/x) and `q_proj`.", "Yes, see the card and q_proj."),
        ("> only\n> a quote", "only a quote"),
        ("- one\n- two", "one two"),
        ("<b>Which</b> seed?", "<b>Which</b> seed?"),
        ("```\ncode\n```", "code"),
        ("", ""),
    ],
)
def test_a_comment_in_plain_words(markdown: str, said: str) -> None:
    assert card.plain(markdown) == said
