"""A passkey in a real browser with a virtual authenticator: added in the settings, then used instead of the password."""

import pytest
from allauth.mfa.models import Authenticator
from playwright.sync_api import expect
from pytest_django.fixtures import Settings

from hub.models import User
from tests.conftest import PASSWORD
from tests.e2e.conftest import Visit

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_passkey(visit: Visit, owner: User, settings: Settings, live_server: object) -> None:
    one = visit()
    one.base = one.base.replace("127.0.0.1", "localhost")  # a key belongs to a name, not to a number
    page = one.page
    devices = one.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "automaticPresenceSimulation": True}})
    one.log_in(owner)
    one.open("/accounts/2fa/webauthn/add/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("Phone")
    page.get_by_label("It is a passkey").check()
    page.get_by_role("button", name="Add the key").click()
    page.wait_for_url("**/accounts/2fa/**codes**")
    assert Authenticator.objects.filter(user=owner, type="webauthn").count() == 1
    one.open("/accounts/2fa/webauthn/")
    expect(page.get_by_role("rowheader", name="Phone")).to_be_visible()
    one.context.clear_cookies()
    one.open("/accounts/login/?next=/compositions")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/compositions")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your compositions")
