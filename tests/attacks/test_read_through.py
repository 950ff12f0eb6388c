"""Another hub that lies, lags, breaks off, or leads elsewhere: an honest status, nothing wrong is kept, and what is here goes on working."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from hub.errors import HubError
from hub.models import Adapter, Blob, Pending, User
from hub.services import upstream
from tests import other_hub
from tests.other_hub import REPO, OtherHub
from tests.services.test_read_through import get, settled

pytestmark = pytest.mark.django_db(transaction=True)
MODEL, WEIGHTS = f"/api/models/{REPO}", f"/{REPO}/resolve/main/model.safetensors"


@pytest.fixture
def other(settings: Settings) -> Iterator[OtherHub]:
    with other_hub.running() as hub:
        settings.READ_THROUGH, settings.READ_THROUGH_MODELS, settings.READ_THROUGH_SECONDS = hub.url, ["HuggingFaceTB/*"], 0.5
        yield hub


def fails(path: str, status: int, words: str) -> None:
    """The answer is a sentence of ours, with a code."""
    found, body, headers = get(path)
    assert (found, headers["X-Error-Code"]) == (status, "upstream-timeout" if status == 504 else "upstream-unavailable"), body
    assert words in headers["X-Error-Message"] and "127.0.0.1" in headers["X-Error-Message"] and headers["X-Request-Id"]


def nothing_is_here(settings: Settings) -> None:
    assert not Adapter.objects.exists() and not Pending.objects.exists() and not Blob.objects.exists()


def test_it_is_down(other: OtherHub, settings: Settings) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings.READ_THROUGH = f"http://127.0.0.1:{probe.getsockname()[1]}"
        fails(MODEL, 502, "connection to it failed")
    nothing_is_here(settings)


@pytest.mark.parametrize("status", [500, 429, 418, 204])
def test_it_answers_something_else(other: OtherHub, settings: Settings, status: int) -> None:
    other.status = status
    fails(MODEL, 502, f"it answers {status}")
    nothing_is_here(settings)


def test_it_is_silent_and_asked_only_once(other: OtherHub, settings: Settings) -> None:
    other.silence = 3
    fails(MODEL, 504, "does not answer in time")
    began = time.monotonic()
    fails(MODEL, 504, "does not answer in time")
    assert time.monotonic() - began < 2 and len(other.asked) == 1, "others do not wait for it again"
    nothing_is_here(settings)


LISTINGS: dict[str, Callable[[Any], Any]] = {
    "no JSON": lambda found: b"<html>",
    "a list": lambda found: [],
    "no files": lambda found: {**found, "siblings": None},
    "another model": lambda found: {**found, "id": "owner/secret"},
    "no sha": lambda found: {**found, "sha": "main"},
    "a path for a sha": lambda found: {**found, "sha": "../../../x"},
    "a file without a size": lambda found: {**found, "siblings": [{"rfilename": "config.json", "blobId": "0" * 40}]},
    "a negative size": lambda found: {**found, "siblings": [{"rfilename": "config.json", "blobId": "0" * 40, "size": -1}]},
    "a hash that is none": lambda found: {**found, "siblings": [{"rfilename": "model.safetensors", "blobId": "0" * 40, "lfs": {"sha256": "x", "size": 1}}]},
    "a million files": lambda found: {**found, "siblings": found["siblings"] * 1000},
    "an endless answer": lambda found: b" " * 6_000_000,
    "deep nesting": lambda found: b'{"siblings":' + b"[" * 100_000,
}


@pytest.mark.parametrize("change", LISTINGS.values(), ids=LISTINGS.keys())
def test_it_talks_nonsense(other: OtherHub, settings: Settings, change: Callable[[Any], Any]) -> None:
    other.listing = change
    assert get(MODEL)[0] == 502
    nothing_is_here(settings)


def test_paths_that_leave_the_repository_are_left_out(other: OtherHub) -> None:
    more = {"../../x.json": b"{}", "a\\b.json": b"{}", ".git/config.json": b"{}", "/etc/x.txt": b"x"}
    other.models[REPO] = {**other_hub.model(), **more}
    assert get(MODEL)[0] == 200
    kept = set(Adapter.objects.get().head.files.values_list("path", flat=True))
    assert kept == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer.model"}
    assert not [path for path in other.paths() if ".." in path or "etc" in path]


@pytest.mark.parametrize("path", ["config.json", "tokenizer.model"], ids=["by git's id", "by sha256"])
@pytest.mark.parametrize("change", [lambda data: data[:-1] + b" ", lambda data: data[:-1], lambda data: data + b" "], ids=["other", "short", "long"])
def test_small_files_that_are_not_those_announced(other: OtherHub, settings: Settings, path: str, change: Callable[[bytes], bytes]) -> None:
    other.bytes = lambda name, data: change(data) if name == path else data
    assert get(MODEL)[0] == 502
    nothing_is_here(settings)


def broken_off(path: str) -> None:
    """A reader does not get to the end."""
    try:
        status, body, headers = get(path)
    except OSError:
        return  # cut off in the middle
    assert status == 502 and headers["X-Error-Code"] == "upstream-unavailable" and len(body) < 1000


def kept_nothing(settings: Settings) -> None:
    settled()
    pending = Pending.objects.get()
    assert not (Path(settings.BLOBS_DIR) / pending.blob_id[:2] / pending.blob_id[2:4] / pending.blob_id).exists()
    assert not list((Path(settings.WORK_DIR) / "fetch").glob("*.part"))


@pytest.mark.parametrize("size", [1000, 500_000])
@pytest.mark.parametrize("change", [lambda data: bytes(len(data)), lambda data: data[:-1], lambda data: data + b" "], ids=["other", "short", "long"])
def test_weights_that_are_not_those_announced(other: OtherHub, settings: Settings, change: Callable[[bytes], bytes], size: int) -> None:
    other.models[REPO] = other_hub.model(size=size)
    assert get(MODEL)[0] == 200
    other.bytes = lambda name, data: change(data) if name == "model.safetensors" else data
    broken_off(WEIGHTS)
    kept_nothing(settings)
    assert get(f"/{REPO}/resolve/main/config.json")[0] == 200, "what is here goes on working"
    asked = len(other.asked)
    broken_off(WEIGHTS)
    assert len(other.asked) == asked, "and the failure is told again without another attempt"


def test_a_connection_that_breaks_off_in_the_weights(other: OtherHub, settings: Settings) -> None:
    other.models[REPO] = other_hub.model(size=500_000)
    other.cut = 300_000
    broken_off(WEIGHTS)
    kept_nothing(settings)
    other.cut = 0
    for fault in (Path(settings.WORK_DIR) / "fetch").glob("*.fault"):
        fault.unlink()  # as after ten seconds
    assert get(WEIGHTS)[1] == other.models[REPO]["model.safetensors"]
    settled()


def test_weights_that_are_a_pickle(other: OtherHub, settings: Settings) -> None:
    """The hash is true, and the content is none that is hosted."""
    other.models[REPO] = {**other_hub.model(), "model.safetensors": b"\x80\x04\x95" + bytes(200)}
    assert get(MODEL)[0] == 200
    assert get(WEIGHTS)[0] in (400, 502)
    kept_nothing(settings)


def test_it_goes_away_later(other: OtherHub) -> None:
    body = get(WEIGHTS)[1]
    settled()
    other.server.shutdown()
    other.server.server_close()
    assert get(WEIGHTS)[1] == body and get(MODEL)[0] == get(f"/{REPO}/resolve/main/README.md")[0] == 200


def test_a_redirect_on_the_same_host_is_followed(other: OtherHub) -> None:
    other.redirect = lambda path: f"/cdn{path}"
    assert get(WEIGHTS)[1] == other.models[REPO]["model.safetensors"]
    settled()


def test_redirects_to_inside(other: OtherHub, settings: Settings) -> None:
    with other_hub.running() as inside:
        other.redirect = lambda path: f"{inside.url}{path}"
        fails(MODEL, 502, "redirects to a place")
        assert not inside.asked
    nothing_is_here(settings)


def test_redirects_in_circles(other: OtherHub, settings: Settings) -> None:
    other.redirect = lambda path: path
    fails(MODEL, 502, "redirects in circles")


@pytest.mark.parametrize(
    ("url", "address", "followed"),
    [
        ("https://cdn-lfs.hf.co/x", "18.1.2.3", True),
        ("https://hf.co/x", "18.1.2.3", True),
        ("https://HF.CO:443/x", "18.1.2.3", True),
        ("http://cdn-lfs.hf.co/x", "18.1.2.3", False),
        ("https://cdn-lfs.hf.co:8443/x", "18.1.2.3", False),
        ("https://me:pw@cdn-lfs.hf.co/x", "18.1.2.3", False),
        ("https://hf.co.example.org/x", "18.1.2.3", False),
        ("https://evilhf.co/x", "18.1.2.3", False),
        ("https://cdn.hf.co/x", "10.0.0.1", False),
        ("https://cdn.hf.co/x", "127.0.0.1", False),
        ("https://cdn.hf.co/x", "169.254.169.254", False),
        ("https://cdn.hf.co/x", "::1", False),
        ("https://cdn.hf.co/x", "fe80::1%eth0", False),
        ("https://cdn.hf.co/x", "", False),
        ("https://cdn.hf.co/x", "0.0.0.0", False),
        ("https://cdn.hf.co/x", "100.64.0.1", False),
        ("https://cdn.hf.co/x", "224.0.0.1", False),
        ("https://cdn.hf.co/x", "::ffff:127.0.0.1", False),
        ("https://cdn.hf.co/x", "::127.0.0.1", False),
        ("https://cdn.hf.co/x", "64:ff9b::7f00:1", False),
        ("https://cdn.hf.co/x", "64:ff9b::a9fe:a9fe", False),
        ("https://cdn.hf.co/x", "2002:7f00:1::", False),
        ("https://cdn.hf.co/x", "fd00::1", False),
        ("https://cdn.hf.co/x", "2606:4700::1", True),
        ("https://2130706433/x", "127.0.0.1", False),
        ("https://0x7f000001/x", "127.0.0.1", False),
        ("https://0177.0.0.1/x", "127.0.0.1", False),
        ("https://127.1/x", "127.0.0.1", False),
        ("https://[::ffff:127.0.0.1]/x", "127.0.0.1", False),
        ("https://hf.co%2eexample.org/x", "18.1.2.3", False),
        ("https://hf.co\\@example.org/x", "18.1.2.3", False),
        ("https://example.org#hf.co", "18.1.2.3", False),
        ("gopher://hf.co/x", "18.1.2.3", False),
        ("//hf.co/x", "18.1.2.3", False),
        ("file:///etc/passwd", "18.1.2.3", False),
        ("", "18.1.2.3", False),
    ],
)
def test_where_a_redirect_may_lead(settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str, address: str, followed: bool) -> None:
    def resolve(host: str, port: int, **more: Any) -> list[Any]:
        if not address:
            raise socket.gaierror
        return [(None, None, None, "", (address, port))]

    settings.READ_THROUGH = "https://huggingface.co"
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        upstream.check_redirect(url)
    except HubError as error:
        assert not followed and error.status == 502
    else:
        assert followed


def test_a_name_with_one_address_inside(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.READ_THROUGH = "https://huggingface.co"
    answers = [(None, None, None, "", (address, 443)) for address in ("18.1.2.3", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: answers)
    with pytest.raises(HubError):
        upstream.check_redirect("https://cdn.hf.co/x")


def test_a_name_that_turns_inside_after_it_was_looked_at(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DNS rebinding: what answers at the second look has to prove that it is the listed host, and is sent no request."""
    settings.READ_THROUGH = "https://huggingface.co"
    inside = other_hub.tls_server(tmp_path)
    looks = []

    def resolve(host: Any, port: Any, *given: Any, **more: Any) -> list[Any]:
        looks.append(host)
        to = ("18.1.2.3", 443) if len(looks) == 1 else ("127.0.0.1", inside.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", to)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    upstream.check_redirect("https://cdn.hf.co/secret")
    with pytest.raises(HubError, match="connection to it failed"), upstream._get(upstream.reading(), "https://cdn.hf.co/secret", limit=10):
        pass
    assert len(looks) == 2 and inside.ended() == (1, b""), "it was connected to, and heard nothing but a handshake"


def test_the_operators_token_does_not_follow_a_redirect(settings: Settings) -> None:
    settings.READ_THROUGH, settings.READ_THROUGH_TOKEN = "https://huggingface.co", "operators-own"
    assert "Authorization" in upstream._headers("https://huggingface.co/api/models/x")
    for elsewhere in ("https://cdn-lfs.huggingface.co/x", "http://huggingface.co/x", "https://huggingface.co:8443/x", "https://huggingface.co@example.org/x"):
        assert "Authorization" not in upstream._headers(elsewhere)


def test_an_unknown_repository_is_never_redirected(owner: User, settings: Settings) -> None:
    settings.READ_THROUGH, settings.READ_THROUGH_MODELS = "https://huggingface.co", ["Qwen/*"]
    for path in ("/api/models/meta/none", "/meta/none/resolve/main/config.json", "/api/models/owner/none"):
        answer = Client().get(path)
        assert answer.status_code == 401 and "Location" not in answer.headers
