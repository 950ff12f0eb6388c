"""Makes docs/screenshots: the main pages over a copy of what `make demo` left, with a little company added so that no page is empty.

Usage: python -m tests.screenshots [FOLDER]. MEDLEY_DATA names the demo's data (var/); it is not changed.
"""

import io
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from demo.server import Site
from tests import browser

ROOT = Path(__file__).resolve().parent.parent
COLOURS = 128  # a page has few; the file is a third of the size
TALLEST = 1600  # the rest of a page is cut off
RESULT = "demo/date-understanding"  # of `make demo ARGS="--task date_understanding --exit"`: a mix, with more to show than one adapter alone


class Shot(NamedTuple):
    """One page: its address, in which kinds, what is done on it first, and the part of it that is taken instead of the whole."""

    path: str
    kinds: tuple[str, ...] = ("light",)
    prepare: Callable[[Page], None] | None = None
    part: str = ""


def main() -> int:
    """Copy the data, add to the copy, serve it, take the pictures."""
    source = Path(os.environ.get("MEDLEY_DATA") or ROOT / "var").resolve()
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
    if not (source / "medley.sqlite3").exists():
        print(f"There is no data in {source}. Run `make demo ARGS='--task date_understanding --exit'` first.")
        return 1
    with tempfile.TemporaryDirectory(prefix="medley-screenshots-") as name:
        data = _copy(source, Path(name))
        os.environ |= {"MEDLEY_DATA": str(data), "DJANGO_SETTINGS_MODULE": "hub.settings", "DJANGO_ALLOW_ASYNC_UNSAFE": "true"}
        session, job = _furnish()
        site = Site(data, _free_port(), Path(os.environ.get("MEDLEY_BASE_MODELS") or source / "base-models"))
        site.start()
        try:
            _shoot(site.url, session, _pages(job), target)
        finally:
            site.stop()
    return 0


def _pages(job: int) -> dict[str, Shot]:
    """Name the pictures."""
    both, phone = ("light", "dark"), ("light", "phone")
    return {
        "home": Shot("/", both),
        "browse": Shot("/adapters?made=uploaded&license=apache-2.0", (*both, "phone")),
        "adapter": Shot(f"/{RESULT}", (*both, "phone")),
        "weights": Shot(f"/{RESULT}", both, part="#weights"),
        "lineage": Shot(f"/{RESULT}", part="#lineage"),
        "compose": Shot(f"/compose?from={job}", both),
        "composition": Shot(f"/compositions/{job}", (*both, "phone")),
        "upload": Shot("/upload", prepare=_choose_a_folder),
        "organisation": Shot("/sums-club", phone),
        "collection": Shot("/collections/demo/arithmetic-that-works-on-small-models-1"),
        "notifications": Shot("/notifications"),
        "moderation": Shot("/moderation", ("dark",)),
    }


def _choose_a_folder(page: Page) -> None:
    page.locator("#folder").set_input_files(ROOT / "demo" / "adapters" / "arith-lab" / "two-digit-addition")
    page.locator("#file-list").get_by_text("adapter_config.json").wait_for()


def _shoot(url: str, session: str, pages: dict[str, Shot], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser.find(), args=["--no-sandbox"])
        for kind in ("light", "dark", "phone"):
            size = {"width": 390 if kind == "phone" else 1280, "height": 844}
            context = chrome.new_context(viewport=size, color_scheme="dark" if kind == "dark" else "light", reduced_motion="reduce")
            context.add_cookies([{"name": "sessionid", "value": session, "url": url}])
            page = context.new_page()
            for name, shot in pages.items():
                if kind in shot.kinds:
                    file = target / (f"{name}.png" if kind == "light" else f"{name}-{kind}.png")
                    _save(_take(page, url, shot), file)
                    print(f"{file.name}: {file.stat().st_size // 1000} KB")
        chrome.close()


def _take(page: Page, url: str, shot: Shot) -> bytes:
    answer = page.goto(url + shot.path)
    if not answer or not answer.ok:
        raise RuntimeError(f"{shot.path} answered {answer and answer.status}")
    page.wait_for_load_state("networkidle")
    if shot.prepare:
        shot.prepare(page)
    return page.locator(shot.part).screenshot() if shot.part else page.screenshot(full_page=True)


def _save(png: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").crop((0, 0, image.width, min(image.height, TALLEST))).quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _copy(source: Path, target: Path) -> Path:
    """Take the database as it is at one moment, and the blobs; the queue stays, so nothing is worked on twice."""
    with closing(sqlite3.connect(source / "medley.sqlite3")) as old, closing(sqlite3.connect(target / "medley.sqlite3")) as new:
        old.backup(new)
    shutil.copytree(source / "blobs", target / "blobs")
    shutil.copy2(source / "secret_key", target)
    return target


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _furnish() -> tuple[str, int]:
    """Add comments, likes, a collection and an organisation; return the session of the account `demo` and its composition."""
    import django

    django.setup()
    from django.test import Client

    from hub.models import Adapter, Composition, User
    from hub.services import collections, comments, lifecycle, organizations, reports, social

    people = {name: User.objects.get(username=name) for name in ("demo", "arith-lab", "open-checks", "word-forms")}
    demo = people["demo"]
    mix, other = (Adapter.objects.get(owner=demo, name=RESULT.partition("/")[2] + end) for end in ("", "-lorahub"))
    sums = [*Adapter.objects.filter(owner=people["arith-lab"]), mix]
    first = comments.add(actor=people["arith-lab"], adapter=mix, body="The adapter for units does most of the work. Does it hold for dates **before 1900**?")
    comments.add(actor=demo, adapter=mix, body="Not measured yet. The recipe is there, so you can retry with your own examples.", reply_to=first)
    for name, adapters in {"arith-lab": [mix], "open-checks": [mix, sums[0]], "word-forms": [mix], "demo": sums[:2]}.items():
        for adapter in adapters:
            social.like(actor=people[name], adapter=adapter, on=True)
    shelf = collections.create(
        actor=demo, title="Arithmetic that works on small models", description="Adapters for sums and units, and the mix for dates that was made with them."
    )
    for adapter in sums:
        collections.add(actor=demo, collection=shelf, adapter=adapter, note="Made of these and others." if adapter == mix else "")
    club = organizations.create(actor=demo, name="sums-club", about="Small models that can add. Everything here can be rebuilt from its recipe.")
    for name, role in (("arith-lab", "writer"), ("open-checks", "reader")):
        organizations.invite(actor=demo, organization=club, username=name, role=role)
        organizations.answer(actor=people[name], organization=club, accept=True)
    lifecycle.transfer(actor=demo, adapter=other, to=club)
    reports.report_adapter(actor=people["word-forms"], adapter=sums[0], reason="other", text="The card does not say which digits it was trained on.")
    User.objects.filter(pk=demo.pk).update(is_staff=True)  # of the copy alone, for the moderators' page
    client = Client()
    client.force_login(demo)
    return client.cookies["sessionid"].value, Composition.objects.get(result__adapter=mix).pk


if __name__ == "__main__":
    sys.exit(main())
