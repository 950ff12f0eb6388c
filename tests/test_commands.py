"""The commands of manage.py."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from hub.management.commands import run
from hub.models import AccessToken, Adapter, BaseModel, User
from tests import other_hub
from tests.conftest import PASSWORD


def told(*arguments: str, **options: object) -> str:
    """What a command prints."""
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def test_create_user(db: None) -> None:
    assert told("create_user", "Acme", "--email", "a@example.org", "--password", PASSWORD) == "Created acme.\n"
    assert User.objects.get(username="acme").check_password(PASSWORD)


def test_create_user_twice(db: None) -> None:
    told("create_user", "acme", "--email", "a@example.org", "--password", PASSWORD)
    with pytest.raises(CommandError, match=r"^name-taken: "):
        told("create_user", "acme", "--email", "b@example.org", "--password", PASSWORD)


def test_create_user_says_what_is_wrong(db: None) -> None:
    with pytest.raises(CommandError, match=r"^account-invalid: .*too short"):
        told("create_user", "acme", "--email", "a@example.org", "--password", "short")


def test_create_token_prints_the_token_alone(owner: User) -> None:
    text = told("create_token", "OWNER", "--name", "laptop", "--scope", "write").removesuffix("\n")
    assert text.startswith("mdl_") and text.split() == [text]
    token = AccessToken.objects.get()
    assert (token.user, token.name, token.scope) == (owner, "laptop", "write") and token.digest not in text


def test_a_token_reads_where_nothing_else_is_said(owner: User) -> None:
    told("create_token", "owner", "--name", "laptop")
    assert AccessToken.objects.get().scope == "read"


def test_create_token_for_nobody(db: None) -> None:
    with pytest.raises(CommandError, match=r"^not-found: "):
        told("create_token", "nobody", "--name", "laptop")


def test_create_token_says_what_is_wrong(owner: User) -> None:
    with pytest.raises(CommandError, match=r"^token-invalid: "):
        told("create_token", "owner", "--name", "")
    with pytest.raises(CommandError, match="scope"):
        told("create_token", "owner", "--name", "laptop", "--scope", "admin")
    assert not AccessToken.objects.exists()


@pytest.fixture
def base(tmp_path: Path, settings: Settings) -> Path:
    """A folder with what a base model needs, and an empty place for base models."""
    settings.BASE_MODELS_DIR = tmp_path / "base-models"
    folder = tmp_path / "download"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", ".hidden"):
        (folder / name).write_text("{}")
    return folder


def test_add_base_model(db: None, base: Path, settings: Settings) -> None:
    target = settings.BASE_MODELS_DIR / "tiny--llama"
    assert str(target) in told("add_base_model", "tiny/llama", "--from", str(base))
    assert sorted(p.name for p in target.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert BaseModel.objects.get(name="tiny/llama").available_at
    with pytest.raises(CommandError, match=r"^base-model-exists: "):
        told("add_base_model", "tiny/llama", "--from", str(base))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_base_model(db: None, base: Path, settings: Settings, missing: str) -> None:
    (base / missing).unlink()
    with pytest.raises(CommandError, match=r"^base-model-incomplete: "):
        told("add_base_model", "tiny/llama", "--from", str(base))
    assert not settings.BASE_MODELS_DIR.exists() and not BaseModel.objects.exists()


@pytest.mark.parametrize("name", ["..", "/etc", "a\\b", "x" * 201])
def test_a_base_model_with_an_odd_name(db: None, base: Path, name: str) -> None:
    with pytest.raises(CommandError, match=r"^base-model-invalid: "):
        told("add_base_model", name, "--from", str(base))


def test_no_model_change_without_a_migration(db: None) -> None:
    told("makemigrations", "--check", "--dry-run", skip_checks=True)


def test_run_refuses_a_taken_port(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings.HOST, settings.PORT = taken.getsockname()
        with pytest.raises(CommandError, match=rf"^port-taken: 127.0.0.1:{settings.PORT} .*Set PORT"):
            call_command("run")


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1:8123"), ("0.0.0.0", "0.0.0.0:8123"), ("::1", "[::1]:8123")])
def test_run_binds_where_it_is_told(settings: Settings, host: str, address: str) -> None:
    settings.HOST, settings.PORT = host, 8123
    assert address in run.commands()["site"]


@pytest.fixture
def quiet_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`run` on a free port, with neither migrations nor static files, that leaves this process's signals as they were."""
    settings.HOST, settings.PORT = "127.0.0.1", 0
    monkeypatch.setattr(run, "call_command", lambda *args, **options: None)
    monkeypatch.setattr(run, "RESTART_WAIT", 0.05)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_starts_its_children_again_and_stops_them_together(
    quiet_run: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals
) -> None:
    def child(name: str, ending: str) -> list[str]:
        code = f"import os, time; open({str(tmp_path / name)!r}, 'a').write(f'{{os.getpid()}}\\n'); {ending}"
        return [sys.executable, "-c", code]

    monkeypatch.setattr(run, "commands", lambda: {"steady": child("steady", "time.sleep(600)"), "brief": child("brief", "raise SystemExit(3)")})
    started: list[subprocess.Popen[bytes]] = []
    start = run._start
    monkeypatch.setattr(run, "_start", lambda command: started.append(start(command)) or started[-1])  # type: ignore[func-returns-value]

    def stop_when_both_ran() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if all((tmp_path / n).exists() and len((tmp_path / n).read_text().split()) >= c for n, c in (("steady", 1), ("brief", 2))):
                break
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop_when_both_ran, daemon=True).start()
    out, err = io.StringIO(), io.StringIO()
    call_command("run", stdout=out, stderr=err)
    assert "Medley runs at http" in out.getvalue()
    assert "The brief ended with status 3; starting it again." in err.getvalue() and "The steady ended" not in err.getvalue()
    assert len((tmp_path / "steady").read_text().split()) == 1 and len((tmp_path / "brief").read_text().split()) >= 2
    assert all(p.poll() is not None for p in started), "no child is left behind"


def test_a_child_that_does_not_stop_is_killed(quiet_run: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "GRACE_SECONDS", 0.2)
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"deaf\n"
    run._end({"deaf": child})
    child.stdout.close()
    assert child.wait(10) == -signal.SIGKILL


def test_host_base_model(db: None, tmp_path: Path) -> None:
    for path, data in other_hub.model().items():
        (tmp_path / path).write_bytes(data)
    said = told("host_base_model", str(tmp_path), "--as", "HuggingFaceTB/Tiny").splitlines()
    assert said[0] == f"HuggingFaceTB/Tiny is hosted at {Adapter.objects.get().head.sha}." and said[1].endswith(": modeling.py, pytorch_model.bin.")
    with pytest.raises(CommandError, match=r"^base-model-incomplete: "):
        told("host_base_model", str(tmp_path / "nowhere"), "--as", "HuggingFaceTB/Tiny")
