"""Every page, large and small, by day and night: nothing sticks out, nothing runs that should not, everything has a name."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hub.adapter_format import WEIGHTS
from hub.models import Adapter, User
from hub.services import adapters, collections, comments, hosting, lifecycle, organizations, reports, runs
from tests import make, other_hub
from tests.conftest import Upload, commit
from tests.e2e import accessibility
from tests.e2e.conftest import Visit
from tests.program import Program
from tests.services.stage import claimed, evaluation, measured
from tests.web.conftest import compose, submit

ATTACK = """# Evil card <script>window.broken = 1</script>

<script>window.broken = 1; alert(1)</script>
<img src=x onerror="window.broken = 1; alert(1)">
<svg onload="window.broken = 1"></svg><style>body { display: none }</style>
<iframe src="https://evil.example"></iframe><form action="https://evil.example"><button>Log in again</button></form>

[click](javascript:window.broken=1) ![pixel](https://tracker.example/p.png) ![data](data:image/svg+xml;base64,PHN2Zy8+)
<a href="javascript:window.broken=1">click too</a> [x](https://evil.example "q\\" onmouseover=\\"window.broken=1")

```html"><script>window.broken = 1</script>
<b>code</b>
```
"""
NAMELESS = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a[href], summary, progress, [role=img]")]
    .filter(e => e.checkVisibility())
    .filter(e => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim() || e.closest("label") || e.title))
    .map(e => e.outerHTML.slice(0, 200))"""
TWICE = """() => { const ids = [...document.querySelectorAll("[id]")].map(e => e.id); return ids.filter((id, n) => ids.indexOf(id) !== n); }"""
DANGLING = """() => [...document.querySelectorAll("[aria-describedby], [aria-labelledby], label[for]")]
    .flatMap(e => (e.getAttribute("aria-describedby") || e.getAttribute("aria-labelledby") || e.htmlFor).split(" "))
    .filter(id => !document.getElementById(id))"""
OUTSIDE = """() => {
    const scrolls = e => e && e !== document.body && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
    const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement));
    return document.documentElement.scrollWidth > innerWidth ? ["the page", ...wide.slice(0, 4).map(e => e.outerHTML.slice(0, 120))] : [];
}"""


CARD = (
    "---\nwidget: [{text: '" + "prompt_" * 60 + "', output: {text: x}}]\n"
    "model-index: [{results: [{dataset: {name: A}, metrics: [{type: loss, value: 0.5}]}]}]\n---\n"
    "# Sums\n\n$$\n"
    + "x_n + " * 90
    + "y\n$$\n\n"
    + "A_very_long_word_without_a_break" * 8
    + "\n\n| a | b |\n|---|---|\n| "
    + "wide " * 40
    + " | x |\n\n```python\n"
    + "x = 1 " * 60
    + "\n```\n"
)
FIXED = [
    *("/", "/adapters", "/adapters?q=nothing-like-it", "/docs/composition", "/upload", "/upload/import", "/compose", "/compositions", "/base-models"),
    *("/notifications", "/collections", "/moderation", "/no/such/page", "/login/device", "/login/device?code=BCDF-GHJK"),
    *("/settings/organizations", "/settings/deleted", "/settings/log", "/settings/tokens", "/settings/notifications", "/settings/profile"),
    *("/accounts/2fa/", "/accounts/sessions/", "/accounts/email/", "/accounts/password/change/"),
]


@pytest.fixture
def pages(owner: User, friend: User, upload: Upload, tmp_path: Path) -> list[str]:
    """A hub with something of everything, and the addresses that show it."""
    User.objects.filter(pk=owner.pk).update(is_staff=True)  # so that the moderators' page is among them
    sums = upload(owner, "sums-with-a-rather-long-name-that-still-is-allowed-here", card=CARD, tags=("one tag", "another-tag"))
    units = upload(owner, "units", seed=1)
    return [
        *FIXED,
        Program().page,
        *_catalogue(owner, sums, units, tmp_path),
        *_talk(owner, friend, sums),
        *_jobs(owner, sums, units),
        *_accounts(owner, friend),
    ]


def _catalogue(owner: User, sums: Adapter, units: Adapter, folder: Path) -> list[str]:
    adapters.create(actor=owner, name="empty")
    names = [(layer, f"{part}_proj" if part != "long" else "a_matrix.with_a.rather_long_name") for layer in range(80) for part in ("q", "v", "long")]
    measured(sums, 1, 0, matrices=[[f"m.{n}.{t}", n, t, 0.001 + n, 1.5, [1.0]] for n, t in names], values=[1 / (n + 1) for n in range(64)])
    measured(units, 0.999, 0.04)
    commit(units, {"notes.txt": b"word " * 300 + b"\nA_very_long_word" * 20 + b"\n"})
    compose(owner, {sums: 0.9, units: -0.25})
    (model := folder / "base").mkdir()
    for path, data in other_hub.model().items():
        (model / path).write_bytes(data)
    base = hosting.host(repo_id=units.base_model, folder=model)[0].adapter.repo_id
    tensors, name = f"/{units.repo_id}/tensors/{WEIGHTS}", units.head.facts["tensors"][0]["name"]
    return [
        *(f"/{sums.repo_id}", "/owner/mix", "/owner/empty", f"/{base}", f"/base-models/{base}", tensors, f"{tensors}?sort=norm&tensor={name}"),
        *("/owner/units/settings", "/owner/units/settings/log", "/owner/units/revisions", f"/owner/units/revisions/{units.head.parent.short}..main"),
        *("/upload?to=owner/units", "/compose?module=owner/units"),
    ]


def _talk(owner: User, friend: User, sums: Adapter) -> list[str]:
    shelf = collections.create(actor=owner, title="A collection with a rather long title, which is allowed")
    collections.add(actor=owner, collection=shelf, adapter=sums, note="A note. " * 20)
    first = comments.add(actor=friend, adapter=sums, body="A comment with `code` and\n\n> a quote\n\n" + "longwordwithoutabreak" * 20)
    comments.add(actor=owner, adapter=sums, body="An answer.", reply_to=first)
    reports.report_adapter(actor=friend, adapter=sums, reason="other", text="Words. " * 30)
    reports.report_comment(actor=owner, comment=first, reason="spam")
    place = f"/collections/owner/{shelf.slug}"
    return [place, f"{place}/edit", f"/{sums.repo_id}/collect", f"/{sums.repo_id}/comments/{first.pk}/report"]


def _jobs(owner: User, sums: Adapter, units: Adapter) -> list[str]:
    waits = submit(owner, name="waits")
    job = claimed(submit(owner, name="runs"))
    for step in range(4):
        runs.record(job=job, evaluation=evaluation(step, loss=3.0 - step / 2, weights=(1.0, 0.5, 0.0)))
    runs.improve(job=job, weights={sums.repo_id: 0.9, units.repo_id: -0.3}, loss=1.5)
    failed = claimed(submit(owner, name="fails"))
    runs.fail(job=failed, code="example-too-long", message="Example 7 is too long. Shorten it.")
    return [f"/compositions/{one.pk}" for one in (waits, job, failed)]


def _accounts(owner: User, friend: User) -> list[str]:
    acme = organizations.create(actor=owner, name="an-organisation-with-quite-a-long-name", about="What it is. " * 8)
    organizations.invite(actor=owner, organization=acme, username=friend.username, role="reader")
    other = organizations.create(actor=friend, name="others")
    organizations.invite(actor=friend, organization=other, username=owner.username, role="writer")
    lifecycle.transfer(actor=friend, adapter=adapters.create(actor=friend, name="offered"), to=owner)
    lifecycle.delete(actor=owner, adapter=adapters.create(actor=owner, name="deleted"))
    return [
        f"/{acme.username}",
        f"/{acme.username}/settings",
        f"/{acme.username}/settings/log",
        "/others",
        "/owner",
        "/owner?show=collections",
        "/owner?show=likes",
    ]


def check(page: Page, path: str) -> None:
    """Hold a page against what every page must be."""
    for scheme, background in (("light", "rgb(245, 247, 246)"), ("dark", "rgb(15, 20, 22)")):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background, f"{path} by {scheme}"
        assert page.evaluate(OUTSIDE) == [], f"{path} scrolls sideways"
    assert page.evaluate(NAMELESS) == [], f"{path} has controls without a name"
    assert page.evaluate(TWICE) == [], f"{path} uses an id twice"
    assert page.evaluate(DANGLING) == [], f"{path} points to an id that is not there"
    assert page.locator("h1").count() == 1 and page.title().endswith("· Medley"), path
    assert page.locator("main, header, footer").count() >= 3, path
    assert page.evaluate("!document.querySelector('[style], main style, [onclick]')"), path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page(visit: Visit, owner: User, pages: list[str], width: int) -> None:
    one = visit(viewport={"width": width, "height": 844})
    page = one.enter(owner)
    for path in pages:
        one.open(path)
        check(page, path)
        assert accessibility.audit(page, whole=width == 1280) == [], path
    one.context.clear_cookies()
    for path in ("/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/adapters"):
        one.open(path)
        check(page, path)
        assert accessibility.audit(page, whole=width == 1280) == [], path


def test_reading_needs_no_scripts(visit: Visit, owner: User, pages: list[str]) -> None:
    one = visit(java_script_enabled=False)
    page = one.enter(owner)
    for path in pages:
        one.open(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("[data-copy], [data-theme-toggle]").first).to_be_hidden()


def test_a_card_full_of_scripts_is_text(visit: Visit, owner: User, upload: Upload) -> None:
    upload(owner, "evil", card=ATTACK)
    one = visit()
    page = one.open("/owner/evil")
    expect(page.locator("#card")).to_contain_text("window.broken = 1; alert(1)")
    for link in page.locator("#card a[href]").all():
        assert not (link.get_attribute("href") or "").lower().startswith(("javascript", "data")), link
    assert page.locator("#card :is(script, iframe, form, img, svg, style, button)").count() == 0
    page.mouse.move(300, 400)
    page.wait_for_timeout(300)
    assert page.evaluate("window.broken") is None
    one.open("/adapters")
    assert page.evaluate("window.broken") is None
    adapter = Adapter.objects.get()
    one.open(f"/owner/evil?revision={adapter.head.sha}")
    assert page.evaluate("window.broken") is None


def test_a_picture_of_the_revision_is_shown(visit: Visit, owner: User, upload: Upload) -> None:
    dot = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000" + "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
    upload(owner, "drawn", files={**make.adapter(), "plot.png": dot, "README.md": b"# Drawn\n\n![A dot](plot.png)\n"})
    page = visit().open("/owner/drawn")
    image = page.get_by_role("img", name="A dot")
    image.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#card img').complete")
    assert image.evaluate("e => e.naturalWidth") == 1


def test_the_choice_of_light_or_dark_is_remembered(visit: Visit) -> None:
    one = visit(color_scheme="light")
    page = one.open("/")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    one.open("/adapters")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(15")


def test_snippets_can_be_copied(visit: Visit, owner: User, upload: Upload) -> None:
    adapter = upload(owner, "sums")
    commit(adapter, {"README.md": b"# Sums\n"})
    one = visit(permissions=["clipboard-read", "clipboard-write"])
    page = one.open("/owner/sums")
    page.get_by_text("peft", exact=True).click()
    page.locator("#use .pane:visible").get_by_role("button", name="Copy the code").click()
    assert 'PeftModel.from_pretrained(\n    base, "./sums")' in page.evaluate("navigator.clipboard.readText()")


def test_the_keyboard_reaches_content_first(visit: Visit) -> None:
    page = visit().open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**#main")


def test_keys_lead_to_the_search_and_through_its_results(visit: Visit, owner: User, upload: Upload) -> None:
    for number, name in enumerate(("sums", "units")):
        upload(owner, name, seed=number)
    page = visit().open("/adapters")
    box = page.locator(".topbar .search input")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_value("")
    for key, name in (("ArrowDown", "owner/units"), ("ArrowDown", "owner/sums"), ("ArrowUp", "owner/units")):
        page.keyboard.press(key)
        expect(page.get_by_role("link", name=name, exact=True)).to_be_focused()
    page.get_by_role("button", name="turn off").click()
    page.keyboard.press("/")
    expect(box).not_to_be_focused()
