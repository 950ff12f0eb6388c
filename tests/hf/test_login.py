"""`hf auth login` without a token: the unmodified command waits while a person answers in the browser."""

import configparser
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import make
from tests.conftest import PASSWORD
from tests.hf import old_clients
from tests.hf.conformance import conforms
from tests.hf.site import Site
from tests.hf.test_cli import Command

VERSIONS = {"1.33.0": old_clients.python, "2.4.0": lambda version: sys.executable}


class Person:
    """Someone with a browser, logged in on the site."""

    def __init__(self, site: Site, name: str) -> None:
        self.browser = httpx.Client(base_url=site.url, follow_redirects=True, timeout=60)
        self.post("/accounts/login/", login=name, password=PASSWORD)

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as the page at the same address would."""
        self.browser.get(path)
        return self.browser.post(path, data={"csrfmiddlewaretoken": self.browser.cookies["csrftoken"], **fields})

    def tokens(self) -> dict[str, str]:
        """Names on the page of access tokens, and what its buttons send."""
        html = self.browser.get("/settings/tokens").text
        return {name: digest for digest, name in re.findall(r'name="digest" value="(\w+)"><button[^>]+aria-label="Revoke ([^"]+)"', html)}

    def revoke(self, name: str) -> None:
        """Press the button beside a token."""
        digest = self.tokens()[name]
        token = self.browser.cookies["csrftoken"]
        page = self.browser.post("/settings/tokens/revoke", data={"csrfmiddlewaretoken": token, "digest": digest})
        assert page.is_success and name not in self.tokens()


class Waiting:
    """`hf auth login`, waiting for its person."""

    def __init__(self, hf: Command) -> None:
        self.process = subprocess.Popen(
            [hf.program, "auth", "login"], env=hf.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.printed = ""
        while (found := re.search(r"(http\S+)\?code=([A-Z]{4}-[A-Z]{4})", self.printed)) is None:
            line = self.process.stdout.readline()
            assert line, self.printed
            self.printed += line
        self.address, self.code = found[1], found[2]
        self.path = f"/login/device?code={self.code}"

    def end(self, status: int = 0) -> str:
        """What it printed until its end."""
        self.printed += self.process.communicate(timeout=60)[0]
        assert self.process.returncode == status, self.printed
        return self.printed


@pytest.fixture(scope="module")
def person(site: Site) -> Iterator[Person]:
    """The owner."""
    person = Person(site, "owner")
    yield person
    person.browser.close()


@conforms("hf 1.33, 2.4", "hf auth login in the browser, then whoami, list, upload; refused; revoked", note="1.19 and older ask for a token instead")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_whole_way(site: Site, person: Person, tmp_path: Path, version: str):
    hf = Command(site, tmp_path / "home", python=VERSIONS[version](version))
    waiting = Waiting(hf)
    assert waiting.address == f"{site.url}/login/device"
    page = person.browser.get(waiting.path)
    assert page.is_success and waiting.code in page.text and "asks to log in as owner" in page.text
    name = f"laptop {version}"
    assert "Go back to your terminal" in person.post(waiting.path, answer="grant", name=name, scope="write").text
    said = waiting.end()
    assert "permission: write" in said and name in said
    assert "owner" in hf("auth", "whoami") and name in hf("auth", "list")
    assert "refreshed automatically" in said or version == "1.33.0"
    folder = tmp_path / "in"
    folder.mkdir()
    for path, data in make.adapter(card="---\nlicense: mit\n---\n# By browser\n", seed=42).items():
        (folder / path).write_bytes(data)
    repo = f"owner/by-browser-{version.replace('.', '-')}"
    hf("upload", repo, str(folder), ".")
    assert site.http("GET", f"/api/models/{repo}").is_success
    person.revoke(name)
    assert "Invalid user token" in hf("auth", "whoami", status=1)
    (folder / "README.md").write_text("# Again\n")
    hf("upload", repo, str(folder), ".", status=1)
    assert "# Again" not in site.http("GET", f"/{repo}/resolve/main/README.md").text


def test_a_refusal(site: Site, person: Person, tmp_path: Path):
    waiting = Waiting(Command(site, tmp_path))
    assert "sent away" in person.post(waiting.path, answer="deny").text
    assert "denied" in waiting.end(status=1)
    assert not (tmp_path / "token").exists()


def test_less_than_it_asked_for(site: Site, person: Person, tmp_path: Path):
    hf = Command(site, tmp_path)
    waiting = Waiting(hf)
    assert person.post(waiting.path, answer="grant", name="reader", scope="read").is_success
    assert "permission: read" in waiting.end()
    assert "may only read" in hf("repos", "create", "owner/not-mine-to-make", status=1)


def test_the_command_renews_its_token(site: Site, person: Person, tmp_path: Path):
    hf = Command(site, tmp_path)
    waiting = Waiting(hf)
    assert person.post(waiting.path, answer="grant", name="server", scope="write").is_success
    waiting.end()
    first, kept = (tmp_path / "token").read_text(), configparser.ConfigParser(interpolation=None)
    kept.read(tmp_path / "stored_tokens")
    assert 6 * 86400 < int(kept["server"]["expires_at"]) - time.time() <= 7 * 86400
    kept["server"]["expires_at"] = str(int(time.time()) + 600)  # the command renews on the last day
    with (tmp_path / "stored_tokens").open("w") as file:
        kept.write(file)
    assert "owner" in hf("auth", "whoami")
    second = (tmp_path / "token").read_text()
    assert second != first and list(person.tokens()).count("server") == 1
    assert site.http("GET", "/api/whoami-v2", token=first).is_success, "what was under way with the old token ends well"
    person.revoke("server")
    assert {site.http("GET", "/api/whoami-v2", token=token).status_code for token in (first, second)} == {401}
    spent = {"grant_type": "refresh_token", "refresh_token": kept["server"]["refresh_token"], "client_id": "26be6b09-91c5-47da-9861-d2d2bb7a7e36"}
    assert site.http("POST", "/oauth/token", token="", data=spent).json()["error"] == "invalid_grant"
    assert not any(token in site.log.read_text() + site.access_log.read_text() for token in (first, second, spent["refresh_token"]))
