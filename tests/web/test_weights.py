"""What an adapter's page shows of its weights, of adapters like it, and of its lineage."""

import re
from typing import Any

import pytest
from django.test import Client

from hub.models import Adapter, Profile, User
from hub.services import profiles
from hub.web import weights
from tests import make
from tests.conftest import Upload
from tests.services.stage import measured, profile_of
from tests.web.conftest import client, compose, page, text

NORMS = {"q_proj": (1, 4), "v_proj": (2, 0.1)}
MATRICES = [[f"model.layers.{layer}.{target}", layer, target, norm, 2.0, [norm]] for target, norms in NORMS.items() for layer, norm in enumerate(norms)]


def test_it_says_when_nothing_is_measured_yet(anonymous: Client, sums: Adapter, owner: User, upload: Upload) -> None:
    assert "not measured yet" in text(anonymous.get("/owner/sums")) and "Similar adapters" not in text(anonymous.get("/owner/sums"))
    row = profiles.claim(profile_id=profile_of(sums).pk)
    assert row is not None
    profiles.fail(profile=row, code="module-unsupported")
    assert f"There is no picture of these weights. {profiles.REASONS['module-unsupported']}" in text(anonymous.get("/owner/sums"))
    measured(upload(owner, "zero", seed=1), values=())
    assert "this adapter changes nothing" in text(anonymous.get("/owner/zero"))


def test_the_pictures_have_their_numbers_beside_them(anonymous: Client, sums: Adapter) -> None:
    measured(sums, 1, matrices=[*MATRICES, ["lm_head", None, "lm_head", 3.0, 1.0, [3.0]]], values=(3.0, 1.0, 0.5))
    html, said = page(anonymous.get("/owner/sums")), text(anonymous.get("/owner/sums"))
    assert 'aria-label="q_proj: largest in layer 1 with 4.00, 57% of the whole squared size"' in html and "All together 5.48" in said
    cells = re.findall(r'class="(h\d)" x="([\d.]+)%" width="47.0%" height="22"><title>layer (\d): ([\d.]+)<', html)
    assert cells == [("h2", "0.0", "0", "1.00"), ("h7", "50.0", "1", "4.00"), ("h4", "0.0", "0", "2.00"), ("h0", "50.0", "1", "0.100")]
    assert "0 1.00 2.00 1 4.00 0.100" in said and "lm_head" in said, "the table says it again"
    assert "2 of 3 directions hold 90% of the squared size; the effective rank is 1.8" in said
    assert "style=" not in html.partition("<main")[2]


def test_a_profile_of_any_size_is_drawn(sums: Adapter) -> None:
    rows = [[f"{t}.{n}", n, f"t{t}", 1.0 + t, 1.0, [1.0]] for t in range(40) for n in range(300)]
    heat = weights.heat(rows)
    assert heat is not None and len(heat.bands) == weights.MAX_ROWS and len(heat.columns) == weights.MAX_COLUMNS
    assert heat.left_out == 16 * 300 and 5 <= len(heat.marks) <= 9 and all(0 <= cell.x + cell.width <= 100 for band in heat.bands for cell in band.cells)
    assert weights.heat([["lm_head", None, "lm_head", 1.0, 1.0, [1.0]]]) is None and weights.spectrum([], []) is None
    alone = weights.heat([["m", 7, "q", 0.0, 0.0, []]])
    assert alone is not None and alone.bands[0].cells[0].level == 0 and alone.marks == [(47.0, 7)]


@pytest.fixture
def alike(owner: User, friend: User, upload: Upload, sums: Adapter) -> dict[str, Adapter]:
    """Adapters at several distances from the sums, one of them private."""
    found: dict[str, Any] = {"near": upload(friend, "near", seed=1), "kin": upload(friend, "kin", seed=2), "hush": upload(friend, "hush", seed=3, private=True)}
    for adapter, numbers in ((sums, (1, 0)), (found["near"], (0.998, 0.063)), (found["kin"], (0.3, 0.954)), (found["hush"], (0.999, 0.045))):
        measured(adapter, *numbers)
    return found


def test_alike_adapters_are_shown_in_words_and_numbers(anonymous: Client, alike: dict[str, Adapter], friend: User) -> None:
    said = text(anonymous.get("/owner/sums"))
    assert "Nearly the same update as friend/near" in said and "friend/ near nearly the same update 0.998" in said
    assert "friend/ kin a related update 0.30" in said and "hush" not in said
    assert "hush nearly the same update, private 0.999" in text(client(friend).get("/owner/sums"))


def test_a_copy_is_called_one(anonymous: Client, alike: dict[str, Adapter], friend: User, upload: Upload) -> None:
    upload(friend, "copy", files=make.adapter())
    assert "The same weights as friend/copy" in text(anonymous.get("/owner/sums")) and Profile.objects.count() == 4


def test_the_lineage_shows_both_sides(anonymous: Client, owner: User, friend: User, sums: Adapter, upload: Upload) -> None:
    units, mine = upload(friend, "units", seed=3), upload(owner, "mine", seed=4)
    mix = compose(owner, {sums: 0.9, units: 0.5, mine: -0.1})
    for number in range(8):
        compose(friend, {mix: 0.1 * number + 0.1}, name=f"next{number}", private=number == 7, files=make.adapter(seed=50 + number))
    html, said = page(anonymous.get("/owner/mix")), text(anonymous.get("/owner/mix"))
    assert "Used in 7 compositions, the latest of which are shown." in said
    assert [n for n in range(8) if f'href="/friend/next{n}"' in html] == [1, 2, 3, 4, 5, 6]
    assert "With thanks to owner (2 adapters) and friend , whose adapters" in said
    assert "Used in 8 compositions" in text(client(friend).get("/owner/mix"))
    assert "Used in 1 composition." in text(anonymous.get("/friend/units"))
