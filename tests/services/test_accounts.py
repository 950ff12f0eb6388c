"""Accounts and access tokens."""

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.utils.functional import SimpleLazyObject

from hub.models import AccessToken, Event, User
from hub.services import accounts, adapters
from tests.conftest import PASSWORD, person
from tests.services.stage import all_text, at_once, refused, verbs


def test_it_works(db: None) -> None:
    user = accounts.create_user(username=" Acme ", email="acme@example.org", password=PASSWORD)
    assert user.username == "acme" and user.check_password(PASSWORD)
    assert verbs() == ["account.create"]
    assert PASSWORD not in all_text(User)


@pytest.mark.parametrize(
    ("username", "email", "password", "field"),
    [
        ("", "a@example.org", PASSWORD, "username"),
        ("two words", "a@example.org", PASSWORD, "username"),
        ("-a", "a@example.org", PASSWORD, "username"),
        ("a--b", "a@example.org", PASSWORD, "username"),
        ("a" * 40, "a@example.org", PASSWORD, "username"),
        ("na\x00me", "a@example.org", PASSWORD, "username"),
        ("n\u00e4me", "a@example.org", PASSWORD, "username"),
        ("name\n", "a\n@example.org", PASSWORD, "email"),
        ("admin", "a@example.org", PASSWORD, "username"),
        ("api", "a@example.org", PASSWORD, "username"),
        ("fine", "no address", PASSWORD, "email"),
        ("fine", "", PASSWORD, "email"),
        ("fine", "a\x00@example.org", PASSWORD, "email"),
        ("fine", "a@" + ".".join(["b" * 60] * 5) + ".org", PASSWORD, "email"),
        ("fine", "a@example.org", "short", "password"),
        ("fine", "a@example.org", "12345678901", "password"),
        ("finely-named", "a@example.org", "finely-named", "password"),
    ],
)
def test_what_is_refused(db: None, username: str, email: str, password: str, field: str) -> None:
    with refused("account-invalid", 400) as caught:
        accounts.create_user(username=username, email=email, password=password)
    assert list(caught.value.fields) == [field]
    assert not User.objects.exists() and not verbs()


def test_a_name_that_exists(owner: User) -> None:
    with refused("name-taken", 409):
        accounts.create_user(username="OWNER", email="other@example.org", password=PASSWORD)


def test_an_address_that_exists(owner: User) -> None:
    with refused("email-taken", 409):
        accounts.create_user(username="other", email="Owner@Example.org", password=PASSWORD)


@pytest.mark.django_db(transaction=True)
def test_two_who_want_one_name() -> None:
    def sign_up(email: str) -> User:
        return accounts.create_user(username="acme", email=email, password=PASSWORD)

    outcomes = at_once(lambda: sign_up("a@example.org"), lambda: sign_up("b@example.org"))
    assert sorted(getattr(o, "code", "made") for o in outcomes) == ["made", "name-taken"]


def test_a_token_is_shown_once_and_kept_as_a_hash(owner: User) -> None:
    token, text = accounts.create_token(actor=owner, name=" laptop ", scope="write")
    assert (token.name, token.scope, token.user) == ("laptop", "write", owner)
    assert text.startswith("mdl_") and len(text) > 40
    stored = all_text(*apps.get_models())
    assert token.digest in stored and text not in stored
    assert text[20:] not in stored, "only the first characters may be kept, to recognise a token"
    assert verbs()[-1] == "token.create"
    assert Event.objects.latest("pk").data == {"name": "laptop", "scope": "write"}


def test_tokens_differ(owner: User) -> None:
    texts = {accounts.create_token(actor=owner, name="same", scope="read")[1] for _ in range(5)}
    assert len(texts) == 5


@pytest.mark.parametrize(("name", "scope", "field"), [("", "read", "name"), ("x" * 61, "read", "name"), ("\x00", "read", "name"), ("x", "admin", "scope")])
def test_a_token_that_is_refused(owner: User, name: str, scope: str, field: str) -> None:
    with refused("token-invalid", 400) as caught:
        accounts.create_token(actor=owner, name=name, scope=scope)
    assert list(caught.value.fields) == [field]
    assert not AccessToken.objects.exists()


def test_a_name_with_a_nul_is_cleaned(owner: User) -> None:
    assert accounts.create_token(actor=owner, name="lap\x00top", scope="read")[0].name == "laptop"


def test_a_token_too_many(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "MAX_TOKENS", 2)
    for _ in range(2):
        accounts.create_token(actor=owner, name="one", scope="read")
    with refused("too-many-tokens", 409):
        accounts.create_token(actor=owner, name="one more", scope="read")


def test_revoke(owner: User, stranger: User) -> None:
    token, _ = accounts.create_token(actor=owner, name="laptop", scope="read")
    with refused("not-found", 404):
        accounts.revoke_token(actor=stranger, digest=token.digest)
    with refused("not-found", 404):
        accounts.revoke_token(actor=owner, digest="\x00")
    accounts.revoke_token(actor=owner, digest=token.digest)
    assert not AccessToken.objects.exists()
    assert verbs()[-1] == "token.revoke"


def test_nobody_makes_a_token_without_logging_in(db: None) -> None:
    with refused("login-required", 401):
        accounts.create_token(actor=AnonymousUser(), name="laptop", scope="read")


def test_a_closed_account_does_nothing(owner: User) -> None:
    owner.is_active = False
    with refused("login-required", 401):
        adapters.create(actor=owner, name="mine")


def test_the_user_of_a_request_is_a_user(owner: User) -> None:
    lazy = SimpleLazyObject(lambda: User.objects.get(pk=owner.pk))
    assert adapters.create(actor=lazy, name="mine").owner == owner


def test_deleting_a_person_keeps_the_log(db: None) -> None:
    user = person("leaver")
    accounts.create_token(actor=user, name="laptop", scope="read")
    user.delete()
    assert not AccessToken.objects.exists()
    assert [(e.verb, e.actor, e.subject) for e in Event.objects.order_by("pk")] == [
        ("account.create", None, "user:leaver"),
        ("token.create", None, "user:leaver"),
    ]
