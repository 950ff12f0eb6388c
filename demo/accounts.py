"""The demo's accounts: made once in each data folder, passwords random, kept in a file that only its owner reads."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from demo import server
from demo.client import ApiError, Client
from demo.terminal import DemoError

LOGIN = "demo"  # the account that composes, and that the visitor logs in with


@dataclass
class Account:
    """One demo account. `password` is empty where the account is older than the file."""

    name: str
    password: str = ""
    token: str = ""


class Accounts:
    """The accounts of one data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._file = data / "demo" / "accounts.json"
        self._known = _read(self._file)

    def ensure_user(self, name: str) -> Account:
        """Create the account where it is missing."""
        if name in self._known:
            account, fresh = self._known[name], False
        else:
            account, fresh = Account(name, secrets.token_urlsafe(12)), True
            self._known[name] = account
            self._write()  # before the account exists, so that a password is never lost
        password = account.password or secrets.token_urlsafe(12)
        said = server.manage("create_user", name, "--email", f"{name}@demo.invalid", f"--password={password}", data=self._data)  # it may begin with "-"
        if said.returncode == 0:
            return account
        if "name-taken" not in said.stderr:
            raise DemoError(f"The account {name} could not be created: {_last_line(said.stderr)}")
        if fresh:
            account.password = ""
            self._write()
        return account

    def client(self, name: str, url: str) -> Client:
        """Return a client with a token that works."""
        account = self._known[name]
        if account.token and _accepted(Client(url, account.token)):
            return Client(url, account.token)
        said = server.manage("create_token", name, "--name", "demo", "--scope", "write", data=self._data)
        if said.returncode:
            raise DemoError(f"No access token for {name}: {_last_line(said.stderr)}")
        account.token = said.stdout.strip().splitlines()[-1]
        self._write()
        return Client(url, account.token)

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        spare = self._file.with_suffix(".new")
        spare.unlink(missing_ok=True)
        with os.fdopen(os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump([asdict(account) for account in self._known.values()], file, indent=1)
        spare.replace(self._file)


def _accepted(client: Client) -> bool:
    try:
        client.get("/api/v1/adapters?limit=1")
    except ApiError as error:
        if error.status in (401, 403):
            return False
        raise
    return True


def _read(file: Path) -> dict[str, Account]:
    try:
        return {row["name"]: Account(**row) for row in json.loads(file.read_text())}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise DemoError(f"{file} is damaged. Remove it; the demo then makes new access tokens.") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
