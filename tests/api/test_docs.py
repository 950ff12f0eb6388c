"""The docs page in a real browser, under the site's own security policy."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from hub.models import Adapter
from hub.services import accounts
from tests.api import contract

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(chrome: Browser) -> Iterator[Page]:
    opened = chrome.new_page()
    yield opened
    opened.close()


def test_it_works(page: Page, live_server: Any, sums: Adapter):
    """It shows every call, tries one with a token, and breaks no rule of the policy."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    token = accounts.create_token(actor=sums.owner, name="docs", scope="write")[1]

    policy = page.goto(f"{live_server.url}/api/v1/docs").headers["content-security-policy"]
    assert "unsafe" not in policy
    page.locator("#operations-adapters-list_adapters").wait_for()
    assert page.locator(".opblock").count() == sum(map(len, contract.schema()["paths"].values()))

    page.get_by_role("button", name="Authorize").click()
    person = page.locator("form", has_text="token (http, Bearer)")
    person.locator("#auth-bearer-value").fill(token)
    person.get_by_role("button", name="Apply credentials").click()
    page.locator(".close-modal").click()
    page.locator("#operations-me-whoami").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    answer = page.locator("#operations-me-whoami .live-responses-table td.response-col_description:not(.col_header)")
    answer.wait_for()
    assert '"username": "owner"' in answer.inner_text()
    assert complaints == []
