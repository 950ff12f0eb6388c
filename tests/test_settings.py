"""Every setting that is read stands in .env.example and in docs/operating.md, with one default, and the other way round."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Read by the demo, or by docker-compose.yml and the image, not by the site.
ELSEWHERE = {
    "MEDLEY_BASE_SOURCE",
    "POSTGRES_PASSWORD",
    "WEB_WORKERS",
    "WEB_MEMORY",
    "WORKER_MEMORY",
    "WORKER_GPU_MEMORY",
    "POSTGRES_MEMORY",
    "PROXY_PROTO",
    "S3_PORT",
    "WORKER_TOKEN",
    "WORKER_CACHE",
    "WORKER_CACHE_MB",
    "HUB_URL",
}


def test_the_example_lists_every_setting():
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z0-9_]+)"', (ROOT / "hub/settings.py").read_text()))
    listed = set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert len(read) > 20
    assert listed - ELSEWHERE == read


def test_what_is_read_elsewhere_is_read_there():
    files = [*ROOT.glob("docker-compose*.yml"), ROOT / "hub" / "deploy" / "gunicorn.conf.py", ROOT / "compose_worker" / "remote.py"]
    sources = "".join(path.read_text() for path in [*(ROOT / "demo").glob("*.py"), *files])
    assert all(name in sources for name in ELSEWHERE)


def test_the_page_says_what_the_example_says():
    example = re.findall(r"^#?([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    page = re.findall(r"^\| `([A-Z0-9_]+)` \| `?([^`|]*?)`? \| \S", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)
    assert sorted(page) == sorted(example)


def test_defaults_are_those_that_are_read():
    """Plain values, that is; what is put together from others is described in words."""
    read = dict(re.findall(r'env\.(?:str|int|float|bool)\(\s*"([A-Z0-9_]+)", "?([\w./:@-]+?)"?\)', (ROOT / "hub/settings.py").read_text()))
    listed = dict(re.findall(r"^#?([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert len(read) > 25
    assert {name: _plain(value) for name, value in read.items()} == {name: _plain(listed[name]) for name in read}


def _plain(value: str) -> str | float:
    text = value.replace("_", "").lower()
    return float(text) if re.fullmatch(r"[0-9.]+", text) and text.count(".") < 2 else value.lower()


@pytest.mark.parametrize(("command", "seconds"), [(["manage.py", "shell", "-v", "0", "-c"], "0"), (["-c"], "60s")])
def test_a_command_may_take_its_time_in_a_transaction(command: list[str], seconds: str):
    code = "from django.conf import settings; print(settings.DATABASES['default']['OPTIONS']['options'])"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "hub.settings", "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}
    done = subprocess.run([sys.executable, *command, code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert f"idle_in_transaction_session_timeout={seconds} " in done.stdout
