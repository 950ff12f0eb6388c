"""A person lets a program in, in a real browser: from the link in the terminal to the button that logs it out."""

import pytest
from playwright.sync_api import expect

from hub.models import AccessToken, User
from tests.conftest import PASSWORD
from tests.e2e.conftest import Visit
from tests.program import Program, eager, whoami

pytestmark = pytest.mark.usefixtures("eager")
__all__ = ["eager"]


@pytest.mark.parametrize("scripts", [True, False])
def test_the_whole_way(visit: Visit, owner: User, scripts: bool) -> None:
    program, one = Program(), visit(java_script_enabled=scripts)
    page = one.open(program.page)
    page.get_by_label("User name or e-mail address").fill("owner")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The Hugging Face client (hf) asks to log in as owner")
    expect(page.get_by_text(program.asked["user_code"])).to_be_visible()
    page.get_by_label("Name").fill("server")
    page.get_by_role("button", name="Log it in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Go back to your terminal")
    token = program.poll()["access_token"]
    assert whoami(token) == 200 and AccessToken.objects.get().name == "server"
    page.get_by_role("link", name="access tokens").click()
    page.get_by_role("button", name="Revoke server").click()
    expect(page.get_by_text("You have none yet")).to_be_visible()
    assert whoami(token) == 401


def test_the_enter_key_does_not_refuse(visit: Visit, owner: User) -> None:
    program, one = Program(), visit()
    page = one.enter(owner)
    one.open(program.page)
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Go back to your terminal")


def test_another_account(visit: Visit, owner: User, stranger: User) -> None:
    program, one = Program(), visit()
    page = one.enter(stranger)
    one.open(program.page)
    page.get_by_role("link", name="not you?").click()
    page.get_by_role("main").get_by_role("button", name="Log out").click()
    page.get_by_label("User name or e-mail address").fill("owner")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("as owner")
