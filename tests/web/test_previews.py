"""The picture that other sites show beside a link, and what the page says to them."""

import io
import random

import pytest
from django.test import Client
from PIL import Image

from hub.models import Adapter, User
from hub.web import previews
from tests.conftest import Upload
from tests.web.conftest import compose, page


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert (image.format, image.size) == ("PNG", previews.SIZE)
    return image


def test_it_works(anonymous: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    units = upload(owner, "units", seed=3)
    mix = compose(owner, {sums: 0.9, units: -0.25})
    seen = []
    for adapter in (sums, mix):
        response = anonymous.get(f"/{adapter.repo_id}/preview.png")
        assert response["Content-Type"] == "image/png" and response["Cache-Control"] == "private, max-age=3600"
        seen.append(picture(response.content).tobytes())
        assert anonymous.get(f"/{adapter.repo_id}/preview.png", headers={"If-None-Match": response["ETag"]}).status_code == 304
    assert seen[0] != seen[1]
    assert previews.card_of(mix).weights == (0.9, -0.25) and previews.card_of(mix).scores and not previews.card_of(sums).weights
    picture(anonymous.get("/preview.png").content)


def test_the_page_names_it(anonymous: Client, sums: Adapter) -> None:
    html = page(anonymous.get("/owner/sums"))
    assert f'<meta property="og:image" content="http://127.0.0.1:8000/owner/sums/preview.png?of={sums.head.short}">' in html
    assert '<meta property="og:title" content="owner/sums">' in html and '<link rel="canonical" href="http://127.0.0.1:8000/owner/sums">' in html
    assert '<meta name="twitter:card" content="summary_large_image">' in html
    assert '<meta property="og:image" content="http://127.0.0.1:8000/preview.png">' in page(anonymous.get("/adapters"))


def test_nobody_else_gets_one_of_a_private_adapter(as_owner: Client, as_stranger: Client, anonymous: Client, secret: Adapter) -> None:
    for who in (anonymous, as_stranger):
        assert who.get(f"/{secret.repo_id}/preview.png").status_code == 404
    response = as_owner.get(f"/{secret.repo_id}/preview.png")
    assert response["Cache-Control"] == "private, max-age=3600" and picture(response.content)
    html = page(as_owner.get(f"/{secret.repo_id}"))
    assert "og:image" not in html and '<meta name="robots" content="noindex">' in html


@pytest.mark.parametrize("seed", range(3))
def test_any_words_make_a_picture(seed: int) -> None:
    draw = random.Random(seed)
    letters = "abc -\u4e2d\u200f\U0001f600\u0000\n\u00e9W"
    words = ["".join(draw.choices(letters, k=draw.choice((0, 1, 40, 300)))) for _ in range(4)]
    card = previews.Card("owner", "n" * 96, words[0], tuple(words[1:]), tuple(draw.uniform(-1, 1) for _ in range(20)), (("Base", 0.0), ("This mix", 1.0)), 7)
    picture(previews.draw(card))


def test_lines_break_at_words_and_end_in_dots() -> None:
    lines = previews._wrapped("some words " * 40, 32, 600, 2)
    assert len(lines) == 2 and lines[0].endswith(("some", "words")) and lines[1].endswith("…")
    assert previews._wrapped("", 32, 600, 2) == [] and previews._wrapped("short", 32, 600, 2) == ["short"]
    assert previews._shown("\u4e2d\u6587") == "" and previews._shown("caf\u00e9 \u4e2d au lait") == "caf\u00e9 au lait"
