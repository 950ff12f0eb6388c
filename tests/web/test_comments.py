"""The comments panel: with and without scripts, what Markdown may do, and who sees what."""

import time

import pytest
from django.test import Client

from hub.models import Adapter, Comment, User
from hub.services import adapters, comments
from hub.web import markdown
from tests.web.conftest import page, text

AT = "/owner/sums/comments"


def test_it_works_without_scripts(as_friend: Client, as_owner: Client, anonymous: Client, sums: Adapter) -> None:
    assert "Log in to comment" in text(anonymous.get("/owner/sums"))
    sent = as_friend.post(AT, {"body": "Which **seed**?"})
    comment = Comment.objects.get()
    assert sent["Location"] == f"/owner/sums#comment-{comment.pk}"
    assert "<strong>seed</strong>" in page(anonymous.get("/owner/sums"))
    as_owner.post(AT, {"body": "Seven.", "reply_to": comment.pk})
    assert 'class="comment answer' in page(anonymous.get("/owner/sums"))
    as_friend.post(f"{AT}/{comment.pk}/edit", {"body": "Which seed, please?"})
    assert "edited just now" in text(anonymous.get("/owner/sums"))
    as_friend.post(f"{AT}/{comment.pk}/delete")
    said = text(anonymous.get("/owner/sums"))
    assert "This comment was deleted." in said and "Seven." in said and "please" not in said


def test_htmx_gets_the_panel_with_what_was_wrong(as_friend: Client, sums: Adapter) -> None:
    hx = {"HX-Request": "true"}
    html = page(as_friend.post(AT, {"body": " "}, headers=hx))
    assert "Write something first." in html and "<html" not in html
    html = page(as_friend.post(AT, {"body": "Fine."}, headers=hx))
    assert "Fine." in html and "<html" not in html
    for nothing in ("", "\u200b\u2060\ufeff", "\u00a0"):
        assert "Write something first." in page(as_friend.post(AT, {"body": nothing}), 400)


def test_forms_are_for_whom_they_work(as_friend: Client, as_owner: Client, as_stranger: Client, anonymous: Client, sums: Adapter, friend: User) -> None:
    comment = comments.add(actor=friend, adapter=sums, body="Hello")
    edit, delete = f"{AT}/{comment.pk}/edit", f"{AT}/{comment.pk}/delete"
    for who, shown in ((as_friend, (True, True)), (as_owner, (False, True)), (as_stranger, (False, False)), (anonymous, (False, False))):
        html = page(who.get("/owner/sums"))
        assert (edit in html, delete in html) == shown
    for who in (as_owner, as_stranger):
        assert who.get(edit).status_code == who.post(edit, {"body": "x"}).status_code == 403
    assert as_stranger.post(delete).status_code == 403
    assert anonymous.post(delete).status_code == 302 and anonymous.post(AT, {"body": "x"})["Location"].startswith("/accounts/login/")
    assert Comment.objects.get().body == "Hello"


def test_it_goes_with_the_adapter(as_friend: Client, as_stranger: Client, as_owner: Client, sums: Adapter, owner: User, friend: User) -> None:
    comment = comments.add(actor=friend, adapter=sums, body="hushed words")
    adapters.update(actor=owner, adapter=sums, private=True)
    for who in (as_friend, as_stranger):
        for path in (AT, f"{AT}/{comment.pk}/edit"):
            assert text(who.get(path)) == text(who.get(path.replace("sums", "none")))
        assert who.post(AT, {"body": "x"}).status_code == who.post(f"{AT}/{comment.pk}/delete").status_code == 404
    assert "hushed words" in page(as_owner.get(AT))


@pytest.mark.parametrize(
    ("body", "never"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("![x](https://evil.example/p.png)", "<img"),
        ("[x](javascript:alert(1))", "href"),
        ("[x](data:text/html,x)", "href"),
        ("# Heading\n\nUnder\n===\n", "<h"),
        ("| a |\n|---|\n| b |", "<table"),
        ("<a id=comments>x</a>", "<a"),
        ("---", "<hr"),
    ],
    ids=["script", "image", "javascript", "data", "heading", "table", "id", "rule"],
)
def test_what_markdown_may_not(body: str, never: str) -> None:
    assert never not in markdown.comment(body)


def test_what_markdown_may() -> None:
    html = markdown.comment("*a* **b** `c` ~~d~~ [e](https://example.org/)\nf\n\n> g\n\n- h\n\n1. i\n\n```py\nj\n```")
    assert all(f"<{tag}" in html for tag in ("em", "strong", "code", "s>", "a ", "br", "blockquote", "ul", "ol", "pre"))
    assert 'rel="nofollow noopener noreferrer"' in html


@pytest.mark.parametrize(
    "bomb",
    [
        ">" * 5000,
        "* " * 2500,
        "*" * 5000,
        "[" * 5000,
        "`" * 2499 + " " + "`" * 2500,
        f"[a]: https://example.org/{'x' * 2400}\n\n" + "[a]" * 800,
        "&" * 5000,
        "a\n" * 2500,
        "- x\n" * 1250,
        "**a" * 1600,
        "[a](" * 1250,
        "<" * 5000,
    ],
    ids=["quotes", "lists", "stars", "brackets", "ticks", "references", "ampersands", "lines", "items", "open", "links", "less"],
)
def test_a_bomb_stays_small(bomb: str) -> None:
    assert len(bomb) <= comments.MAX_BODY
    began = time.process_time()
    html = markdown.comment(bomb)
    assert len(html) < 15 * comments.MAX_BODY and time.process_time() - began < 20  # without a bound, minutes
