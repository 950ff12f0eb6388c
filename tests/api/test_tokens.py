"""Who asks: access tokens with their scopes, and the browser's session."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from hub.models import AccessToken, Adapter, User
from hub.services import accounts
from tests.api.conftest import V1, Api, client, refusal
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
ME = {"username": "owner", "email": "owner@example.org", "scope": "write", "storage": {"limit": None, "pending": 0, "used": 0}}


def test_it_works(owner: User):
    _, text = accounts.create_token(actor=owner, name="laptop", scope="write")
    assert Api(text).get(f"{V1}/me").json() == {**ME, "token": "laptop"}
    for header in (f"bearer {text}", f"Bearer  {text}"):
        assert Api().get(f"{V1}/me", headers={"Authorization": header}).status_code == 200


def test_nobody(anonymous: Api):
    response = anonymous.get(f"{V1}/me")
    assert (*refusal(response), response["WWW-Authenticate"]) == (401, "login-required", "Bearer")


BROKEN = ["Bearer", "Bearer x", "Bearer mdl_" + "0" * 64, "Bearer a b", "Bearer \xff\xfe", "Bearer " + "x" * 10_000, "Bearer é", "Bearer mdl_\x00"]


@pytest.mark.parametrize("header", BROKEN)
def test_a_token_that_is_none(anonymous: Api, sums: Adapter, header: str):
    for path in ("/me", "/adapters/owner/sums", "/nothing"):
        response = anonymous.get(V1 + path, headers={"Authorization": header})
        assert refusal(response) == (401, "token-invalid")
        assert "invalid_token" in response["WWW-Authenticate"]


def test_another_scheme_is_no_login(anonymous: Api, sums: Adapter):
    for header in ("Basic b3duZXI6cHc=", "Token x", ""):
        assert anonymous.get(f"{V1}/adapters/owner/sums", headers={"Authorization": header}).status_code == 200
        assert refusal(anonymous.get(f"{V1}/me", headers={"Authorization": header})) == (401, "login-required")


def test_a_revoked_token(owner: User):
    token, text = accounts.create_token(actor=owner, name="laptop", scope="write")
    accounts.revoke_token(actor=owner, digest=token.digest)
    assert refusal(Api(text).get(f"{V1}/me")) == (401, "token-invalid")


def test_an_expired_token(owner: User):
    _, text = accounts.create_token(actor=owner, name="laptop", scope="write")
    AccessToken.objects.update(expiry=timezone.now() + timedelta(hours=1))
    assert Api(text).get(f"{V1}/me").status_code == 200
    AccessToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert refusal(Api(text).get(f"{V1}/me")) == (401, "token-invalid")


def test_a_token_of_someone_who_was_shut_out(owner: User, as_owner: Api):
    User.objects.update(is_active=False)
    assert refusal(as_owner.get(f"{V1}/me")) == (401, "token-invalid")


def test_a_token_that_may_only_read(as_reader: Api, secret: Adapter):
    assert as_reader.get(f"{V1}/me").json()["scope"] == "read"
    assert as_reader.get(f"{V1}/adapters/owner/secret").status_code == 200
    assert as_reader.head(f"{V1}/adapters/owner/secret").status_code == 200
    for response in (
        as_reader.json("post", "/adapters", {"name": "x"}),
        as_reader.json("patch", "/adapters/owner/secret", {"private": False}),
        as_reader.delete(f"{V1}/adapters/owner/secret"),
        as_reader.form("/adapters/owner/secret/commits", [("files", "a.md", b"x")]),
        as_reader.put(f"{V1}/adapters/owner/secret/like"),
        as_reader.json("post", "/compositions", {}),
        as_reader.post(f"{V1}/compositions/1/cancel"),
    ):
        assert refusal(response) == (403, "scope-too-narrow")
    secret.refresh_from_db()
    assert (secret.private, secret.likes, Adapter.objects.count()) == (True, 0, 1)


def test_a_browsers_session_needs_the_csrf_token(owner: User):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    assert browser.get(f"{V1}/me").json() == {**ME, "token": None}
    assert refusal(browser.post(f"{V1}/adapters", {"name": "x"}, "application/json")) == (403, "csrf-failed")
    assert not Adapter.objects.exists()
    browser.get(f"{V1}/docs")
    csrf = browser.cookies["csrftoken"].value
    assert browser.post(f"{V1}/adapters", {"name": "x"}, "application/json", headers={"X-CSRFToken": csrf}).status_code == 201


def test_a_password_is_no_token(owner: User):
    assert refusal(Api(PASSWORD.replace(" ", "")).get(f"{V1}/me")) == (401, "token-invalid")


def test_the_text_of_a_token_is_kept_nowhere(owner: User):
    token, text = accounts.create_token(actor=owner, name="laptop", scope="write")
    kept = " ".join(str(value) for value in AccessToken.objects.values().get().values())
    assert text not in kept
    assert token.digest in kept


def test_one_query_for_the_token(owner: User, django_assert_num_queries):
    api = client(owner)
    with django_assert_num_queries(1):
        assert api.get(f"{V1}/methods").status_code == 200
