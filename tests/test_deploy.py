"""What docker-compose.yml and Dockerfile promise: health, limits, restarts, no rights, no torch on the web."""

import os
import re
import secrets
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from django.core.management import CommandError, call_command
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pytest_django.fixtures import Settings

from hub.models import User
from tests.conftest import PASSWORD

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REMOTE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.remote.yml").read_text())
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)


def resolved(**environment: str) -> str:
    """The compose file with its variables in place, as `docker compose config` makes it; a missing one that is needed raises."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name is None:
            return "$"
        if operator == ":?" and not environment.get(name):
            raise KeyError(name, rest)
        return environment.get(name) or rest or ""

    return re.sub(r"\$\$|\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, (ROOT / "docker-compose.yml").read_text())


def test_the_file_keeps_to_the_compose_specification() -> None:
    text = yaml.safe_dump(yaml.safe_load(resolved(POSTGRES_PASSWORD="secret", SECRET_KEY="secret")))  # without anchors, which the parser does not merge
    made = PyCompose.from_yaml(text)
    made.validate()
    assert set(made.service_names()) == set(SERVICES) and set(made.volumes) == {"data", "minio", "postgres", "redis"}
    with pytest.raises(ValueError, match="memroy"):  # the parser does see what is misspelt
        PyCompose.from_yaml(text.replace("memory: 256M", "memroy: 256M"))


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "SECRET_KEY"])
def test_nothing_starts_without_secrets(missing: str) -> None:
    with pytest.raises(KeyError, match=f"set {missing} in .env"):
        resolved(**{name: "secret" for name in ("POSTGRES_PASSWORD", "SECRET_KEY") if name != missing})


def test_every_setting_reaches_our_containers() -> None:
    for name in OURS:
        assert SERVICES[name]["env_file"] == [{"path": ".env", "required": False}], "whatever .env sets that the file itself does not"
        fixed = {key for key, value in SERVICES[name]["environment"].items() if "${" not in str(value)}
        assert fixed == {"CELERY_BROKER_URL", "CACHE_URL", "HOST", "X_ACCEL"}, "and these alone are the compose file's own"


def test_what_the_site_installs_brings_no_torch() -> None:
    wanted = [line.partition("#")[0].strip() for line in (ROOT / "requirements" / "web.txt").read_text().splitlines()]
    seen, waiting = set[tuple[str, str]](), [Requirement(line) for line in wanted if line]
    while waiting:
        one = waiting.pop()
        for extra in {"", *one.extras} - {extra for name, extra in seen if name == canonicalize_name(one.name)}:
            seen.add((canonicalize_name(one.name), extra))
            needed = map(Requirement, metadata.requires(one.name) or ())
            waiting += [other for other in needed if other.marker is None or other.marker.evaluate({"extra": extra})]
    names = {name for name, _ in seen}
    assert len(names) > 40 and not names & {"torch", "transformers", "peft", "safetensors", "nevergrad", "scipy"}


def test_the_services() -> None:
    assert set(SERVICES) == {"nginx", "web", "worker", "worker-gpu", "clock", "postgres", "redis", "minio"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"] and SERVICES["minio"]["profiles"] == ["s3"] and OURS == ["clock", "web", "worker", "worker-gpu"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_watched_bounded_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped" and service["deploy"]["resources"]["limits"]["memory"]
    assert "healthcheck" in service or name == "web", "the image of the site brings its own"
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).is_file()


@pytest.mark.parametrize("name", [*OURS, "nginx", "redis"])
def test_what_faces_people_has_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]


def test_a_worker_elsewhere_knows_the_hubs_address_and_its_token_alone() -> None:
    assert set(REMOTE["services"]) == {"remote-worker", "remote-worker-gpu"}
    for service in REMOTE["services"].values():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped" and service["deploy"]["resources"]["limits"]["memory"] and service["healthcheck"]
        assert set(service["environment"]) == {"WORKER_TOKEN", "WORKER_BASES", "WORKER_CACHE", "WORKER_CACHE_MB"} and "env_file" not in service


def test_the_images() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert [stage.splitlines()[0].split()[-1] for stage in stages] == ["web", "worker", "worker-gpu"]
    for stage in stages:
        assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE)[-1] == "1000", "none of them runs as root"
    assert not re.search(r"^torch", (ROOT / "requirements" / "web.txt").read_text(), re.MULTILINE) and "worker.txt" not in stages[0]
    assert {SERVICES[name]["build"]["target"] for name in OURS} == {"web", "worker", "worker-gpu"}


def test_every_variable_is_documented() -> None:
    used = {name for path in ROOT.glob("docker-compose*.yml") for name in re.findall(r"\$\{([A-Z0-9_]+)", path.read_text())}
    listed = set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert len(used) > 8 and used <= listed


@pytest.mark.django_db(transaction=True)
def test_prepare_makes_the_operators_account_once(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.ADMIN_USERNAME, settings.ADMIN_EMAIL, settings.ADMIN_PASSWORD = "Chief", "chief@example.org", PASSWORD
    call_command("prepare")
    chief = User.objects.get(username="chief")
    assert chief.is_superuser and chief.is_staff and chief.check_password(PASSWORD)
    chief.set_password("another long password")
    chief.save()
    call_command("prepare")
    assert User.objects.get().check_password("another long password"), "what was changed stays"
    assert (tmp_path / "static" / "medley.css").is_file()


@pytest.mark.django_db(transaction=True)
def test_prepare_says_what_is_wrong_with_the_account(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.ADMIN_USERNAME, settings.ADMIN_EMAIL, settings.ADMIN_PASSWORD = "chief", "chief@example.org", "short"
    with pytest.raises(CommandError, match=r"ADMIN_PASSWORD: .*8 characters"):
        call_command("prepare")
    assert not User.objects.exists()


def test_production_settings_are_clean(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
        "MEDLEY_DATA": str(tmp_path),
        "PUBLIC_URL": "https://hub.example.org",
        "ALLOWED_HOSTS": "hub.example.org",
        "SECRET_KEY": secrets.token_urlsafe(60),
        "SECURE_HSTS_SECONDS": "31536000",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
