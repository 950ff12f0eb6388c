"""The demo's accounts: made once, kept privately, and mended where file and database differ."""

import json
import stat
import subprocess
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from demo import accounts, server
from demo.terminal import DemoError
from hub.models import AccessToken, User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Run management commands on the test's database."""

    def manage(*arguments, data):
        out = StringIO()
        try:
            call_command(*arguments, stdout=out)
        except CommandError as error:
            return subprocess.CompletedProcess(arguments, 1, "", f"CommandError: {error}\n")
        return subprocess.CompletedProcess(arguments, 0, out.getvalue(), "")

    monkeypatch.setattr(server, "manage", manage)


@pytest.fixture
def accepted(monkeypatch):
    """The tokens that the site takes; every one unless a test says otherwise."""
    refused: set[str] = set()
    monkeypatch.setattr(accounts, "_accepted", lambda client: client._headers["Authorization"].removeprefix("Bearer ") not in refused)
    return refused


def test_it_works(tmp_path, accepted):
    found = accounts.Accounts(tmp_path)
    made = found.ensure_user("arith-lab")
    assert User.objects.get(username="arith-lab").check_password(made.password)
    found.client("arith-lab", "http://127.0.0.1:1")
    assert AccessToken.objects.get().scope == "write"
    file = tmp_path / "demo" / "accounts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == [{"name": "arith-lab", "password": made.password, "token": made.token}]


def test_a_password_may_begin_like_an_option(tmp_path, accepted, monkeypatch):
    monkeypatch.setattr(accounts.secrets, "token_urlsafe", lambda size: "-kQ9_begins-so")
    assert accounts.Accounts(tmp_path).ensure_user("arith-lab").password == "-kQ9_begins-so"
    assert User.objects.get().check_password("-kQ9_begins-so")


def test_a_second_run_keeps_password_and_token(tmp_path, accepted):
    first = accounts.Accounts(tmp_path)
    made = first.ensure_user("demo")
    first.client("demo", "http://127.0.0.1:1")
    second = accounts.Accounts(tmp_path)
    assert second.ensure_user("demo") == made
    second.client("demo", "http://127.0.0.1:1")
    assert AccessToken.objects.count() == 1


def test_a_revoked_token_is_replaced(tmp_path, accepted):
    found = accounts.Accounts(tmp_path)
    made = found.ensure_user("demo")
    found.client("demo", "http://127.0.0.1:1")
    old = made.token
    accepted.add(old)
    found.client("demo", "http://127.0.0.1:1")
    assert made.token != old


def test_an_account_older_than_the_file_is_used_without_its_password(tmp_path, accepted):
    User.objects.create_user("demo", "someone@example.org", "of their own")
    found = accounts.Accounts(tmp_path)
    assert found.ensure_user("demo").password == ""
    assert User.objects.get().check_password("of their own")
    assert accounts.Accounts(tmp_path).ensure_user("demo").password == ""


def test_an_account_whose_database_is_gone_is_made_again(tmp_path, accepted):
    made = accounts.Accounts(tmp_path).ensure_user("demo")
    User.objects.all().delete()
    assert accounts.Accounts(tmp_path).ensure_user("demo").password == made.password
    assert User.objects.get().check_password(made.password)


def test_a_refused_name_is_told(tmp_path):
    with pytest.raises(DemoError, match=r"account Bad_Name could not be created.*account-invalid"):
        accounts.Accounts(tmp_path).ensure_user("Bad_Name")


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "accounts.json").write_text("{")
    with pytest.raises(DemoError, match="is damaged"):
        accounts.Accounts(tmp_path)
