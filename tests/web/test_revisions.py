"""The history's pages: picking two revisions, and what differs between them."""

import pytest
from django.test import Client

from hub.models import Adapter, Revision
from tests.conftest import commit
from tests.web.conftest import page, text


@pytest.fixture
def two(sums: Adapter) -> tuple[Revision, Revision]:
    return sums.head, commit(sums, {"README.md": b"# Sums\n\n<script>alert(1)</script> & <b>large</b>\n"}, message="Larger ones")


def test_two_revisions_are_compared(anonymous: Client, two: tuple[Revision, Revision]) -> None:
    before, after = two
    html = page(anonymous.get(f"/owner/sums/revisions/{before.short}..{after.short}"))
    assert '<span class="vh">removed</span></td><td><code>Adds small numbers.</code>' in html
    assert '<span class="vh">added</span></td><td><code>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;large&lt;/b&gt;</code>' in html
    assert "Larger ones" in html and "1 line added" in text(anonymous.get(f"/owner/sums/revisions/{before.sha}..main"))
    assert "Nothing differs" not in html and "Nothing differs" in page(anonymous.get("/owner/sums/revisions/main..main"))


def test_the_list_leads_there(anonymous: Client, two: tuple[Revision, Revision]) -> None:
    before, after = two
    html = page(anonymous.get("/owner/sums/revisions"))
    assert f'href="/owner/sums/revisions/{before.short}..{after.short}"' in html and f'name="to" value="{after.short}" aria-label' in html
    picked = anonymous.get(f"/owner/sums/revisions?from={after.short}&to={before.short}")
    assert picked["Location"] == f"/owner/sums/revisions/{after.short}..{before.short}"


@pytest.mark.parametrize("span", ["odd", "..", "a..", "0000000..main", "main..main..main", "%00..main", "main.." + "a" * 300])
def test_odd_addresses_are_not_found(anonymous: Client, sums: Adapter, span: str) -> None:
    assert anonymous.get(f"/owner/sums/revisions/{span}").status_code == 404


def test_private_ones_are_hidden(as_stranger: Client, as_owner: Client, secret: Adapter) -> None:
    for path in ("revisions", "revisions/main..main"):
        assert (as_stranger.get(f"/owner/hush-plan/{path}").status_code, as_owner.get(f"/owner/hush-plan/{path}").status_code) == (404, 200)
