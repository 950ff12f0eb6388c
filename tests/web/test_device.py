"""The page on which a person lets in a program."""

import pytest
from django.test import Client

from hub.models import AccessToken, User
from hub.services import accounts
from tests.program import Program, eager, let_in, whoami
from tests.web.conftest import client, page, text

pytestmark = [pytest.mark.usefixtures("eager", "db")]
__all__ = ["eager"]


def test_it_works(as_owner: Client, owner: User) -> None:
    program = Program()
    assert program.poll()["error"] == "authorization_pending"
    said = text(as_owner.get(program.page))
    assert "The Hugging Face client (hf) asks to log in as owner" in said and program.asked["user_code"] in said
    assert "Read and write" in said and "just now , from 127.0.0.1, the address you are at" in said
    done = text(as_owner.post(program.page, {"answer": "grant", "name": "laptop", "scope": "write"}))
    assert "Go back to your terminal" in done and "It may read and write" in done
    answer = program.poll()
    assert (answer["scope"], answer["token_type"], answer["expires_in"]) == ("write", "Bearer", 7 * 86400)
    assert whoami(answer["access_token"]) == 200
    listed = text(as_owner.get("/settings/tokens"))
    assert "laptop browser login, renews itself" in listed


def test_refused(as_owner: Client) -> None:
    program = Program()
    assert "sent away" in text(as_owner.post(program.page, {"answer": "deny"}))
    assert program.poll()["error"] == "access_denied"
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("typed", [str.lower, lambda code: code.replace("-", ""), lambda code: f"  {code.replace('-', ' ')} "])
def test_codes_may_be_typed_as_people_do(as_owner: Client, typed) -> None:
    program = Program()
    assert program.asked["user_code"] in page(as_owner.get("/login/device", {"code": typed(program.asked["user_code"])}))


def test_the_code_can_be_typed_on_the_page(as_owner: Client) -> None:
    assert "shows you a code" in text(as_owner.get("/login/device"))
    said = page(as_owner.get("/login/device?code=BCDF-GHJK"), 400)
    assert "There is no program with this code" in said and 'value="BCDF-GHJK"' in said


def test_less_than_it_asked_for(owner: User) -> None:
    answer = let_in(owner, Program(), scope="read")
    assert answer["scope"] == "read" and AccessToken.objects.get().scope == "read"


def test_a_program_that_asks_to_read_only(as_owner: Client) -> None:
    said = page(as_owner.get(Program(scope="read").page))
    assert "It may <b>read</b>" in said and 'type="radio"' not in said


@pytest.mark.parametrize(("given", "words"), [({"name": ""}, "required"), ({"name": "x" * 61}, "at most 60"), ({"scope": "all"}, "not one of the available")])
def test_a_bad_answer_can_be_mended(as_owner: Client, given: dict[str, str], words: str) -> None:
    program = Program()
    said = as_owner.post(program.page, {"answer": "grant", "name": "laptop", "scope": "read", **given})
    assert said.status_code == 400 and words in text(said)
    assert program.poll()["error"] == "authorization_pending"
    as_owner.post(program.page, {"answer": "grant", "name": "laptop", "scope": "read"})
    assert "access_token" in program.poll()


def test_too_many_tokens(as_owner: Client, owner: User, monkeypatch) -> None:
    monkeypatch.setattr(accounts, "MAX_TOKENS", 1)
    accounts.create_token(actor=owner, name="first", scope="read")
    program = Program()
    said = as_owner.post(program.page, {"answer": "grant", "name": "laptop", "scope": "read"})
    assert said.status_code == 400 and "Revoke one" in text(said)
    assert program.poll()["error"] == "authorization_pending"


def test_a_program_at_another_address(as_owner: Client) -> None:
    program = Program()
    program.http = Client(REMOTE_ADDR="203.0.113.7")
    program.asked = program.ask()
    said = text(as_owner.get(program.page))
    assert "from 203.0.113.7" in said and "The program runs at another address than your browser" in said


def test_who_is_not_logged_in_comes_back_after_it(anonymous: Client) -> None:
    program = Program()
    answer = anonymous.get(program.page)
    assert answer["Location"] == f"/accounts/login/?next=%2Flogin%2Fdevice%3Fcode%3D{program.asked['user_code']}"


def test_revoked(as_owner: Client, owner: User, stranger: User) -> None:
    program = Program()
    first = let_in(owner, program)
    second = program.renew(first["refresh_token"])
    assert [whoami(answer["access_token"]) for answer in (first, second)] == [200, 200]
    shown = AccessToken.objects.exclude(refresh_digest="").get()
    assert page(as_owner.get("/settings/tokens")).count('name="digest"') == 1, "one login is one line"
    assert client(stranger).post("/settings/tokens/revoke", {"digest": shown.digest}).status_code == 404
    as_owner.post("/settings/tokens/revoke", {"digest": shown.digest})
    assert [whoami(answer["access_token"]) for answer in (first, second)] == [401, 401]
    assert program.renew(second["refresh_token"])["error"] == "invalid_grant"
