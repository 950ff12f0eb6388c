"""The front page, the page about composition, and what robots may read."""

from django.test import Client

from compose_worker.engine import catalogue
from hub.models import Adapter, User
from tests.conftest import Upload
from tests.web.conftest import compose, page, text


def test_it_works(anonymous: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    compose(owner, {sums: 0.9, upload(owner, "units", seed=3): -0.25})
    said = text(anonymous.get("/"))
    assert "Mix small adapters into the one you need" in said
    assert "mix of 2" in said and "+0.90" in said and "\u22120.25" in said
    assert "Base 0.02" in said and "This mix 0.57" in said
    assert "Adds small numbers." in said


def test_an_empty_hub_says_what_to_do(anonymous: Client) -> None:
    html = page(anonymous.get("/"))
    assert "The shelf is empty" in html and 'href="/upload"' in html
    assert "0 adapter" not in html


def test_the_hero_names_no_private_parent(anonymous: Client, as_owner: Client, owner: User, sums: Adapter, upload: Upload) -> None:
    other = upload(owner, "later-hidden", seed=3)
    compose(owner, {sums: 0.9, other: 0.5})
    Adapter.objects.filter(pk=other.pk).update(private=True)
    assert "later-hidden" not in page(anonymous.get("/")) and "a private adapter" in text(anonymous.get("/"))
    assert "later-hidden" in page(as_owner.get("/"))


def test_the_counts_know_only_what_is_public(anonymous: Client, as_owner: Client, sums: Adapter, secret: Adapter) -> None:
    for who in (as_owner, anonymous):
        assert "1 adapter," in text(who.get("/"))


def test_the_page_about_composition_lists_every_method_and_setting(anonymous: Client) -> None:
    html = page(anonymous.get("/docs/composition"))
    for method in catalogue.METHODS:
        assert method.title in html and f'id="method-{method.name}"' in html
        for setting in method.settings:
            assert f"<code>{setting.name}</code>" in html


def test_robots(anonymous: Client) -> None:
    response = anonymous.get("/robots.txt")
    assert response["Content-Type"].startswith("text/plain") and "Disallow: /upload" in response.content.decode()
    assert anonymous.get("/favicon.ico")["Location"].endswith("favicon.svg")


def test_pages_load_nothing_from_elsewhere(as_owner: Client, sums: Adapter) -> None:
    for address in ("/", "/adapters", "/owner/sums", "/compose", "/upload", "/settings/tokens", "/docs/composition"):
        html = page(as_owner.get(address))
        assert "style=" not in html and "<style" not in html and " onclick=" not in html, address
        for piece in html.split("src=")[1:] + html.split("<link ")[1:]:
            assert "//" not in piece.split(">")[0] or piece.startswith('rel="canonical"'), address


def test_every_page_has_a_strict_policy(as_owner: Client, sums: Adapter) -> None:
    for address in ("/", "/owner/sums", "/compose", "/no/such"):
        policy = as_owner.get(address)["Content-Security-Policy"]
        assert "script-src 'self'" in policy and "style-src 'self'" in policy and "unsafe" not in policy


def test_the_menu_fits_the_person(anonymous: Client, as_owner: Client, settings) -> None:
    assert "/accounts/login/" in page(anonymous.get("/")) and 'href="/compositions"' not in page(anonymous.get("/"))
    assert 'href="/compositions"' in page(as_owner.get("/")) and "/accounts/login/" not in page(as_owner.get("/"))
    settings.SIGNUP_OPEN = False
    assert "/accounts/signup/" not in page(anonymous.get("/"))
