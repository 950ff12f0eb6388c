"""A real Chromium against the live server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Request

from hub.models import User
from tests import make
from tests.conftest import PASSWORD


class Watched:
    """A page, and everything it did that no page of ours should do."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context = context
        self.base = base
        self.faults: list[str] = []
        self.elsewhere: tuple[str, ...] = ()  # other places that a page may ask
        self.page: Page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" and "status of 4" not in said.text else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.base, "data:", "blob:", *self.elsewhere)):
            self.faults.append(f"asked {request.url}")

    def open(self, path: str) -> Page:
        """Show a page of the site."""
        self.page.goto(self.base + path)
        return self.page

    def enter(self, user: User) -> Page:
        """Be logged in, without the form."""
        client = Client()
        client.force_login(user)
        self.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": self.base}])
        return self.page

    def log_in(self, user: User) -> Page:
        """Log in through the form."""
        page = self.open("/accounts/login/")
        page.get_by_label("User name or e-mail address").fill(user.username)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(self.base + "/")
        return page


Visit = Callable[..., Watched]


@pytest.fixture
def visit(chrome: Browser, live_server: Any) -> Iterator[Visit]:
    """Open a fresh browser window: visit(java_script_enabled=False, color_scheme="dark", ...)."""
    opened: list[Watched] = []

    def open_one(**options: Any) -> Watched:
        made = Watched(chrome.new_context(accept_downloads=True, **options), live_server.url)
        opened.append(made)
        return made

    yield open_one
    for one in opened:
        one.context.close()
    assert [fault for one in opened for fault in one.faults] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tiny adapter, as PEFT writes one."""
    path = tmp_path / "my-tiny-lora"
    path.mkdir()
    for name, data in make.adapter(card="---\ntags: [tiny]\n---\n# Tiny\n\nAnswers tiny questions.\n").items():
        (path / name).write_bytes(data)
    (path / ".DS_Store").write_bytes(b"junk")
    return path
