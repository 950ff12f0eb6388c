"""Browsers without a browser: one client for each of the cast, and adapters to look at."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from hub.models import Adapter, Composition, User
from hub.services import jobs, runs
from tests import make
from tests.conftest import Upload
from tests.conftest import compose as published
from tests.services.stage import claimed, result

EXAMPLES = [{"input": f"{n} + {n} =", "output": str(2 * n)} for n in range(6)]
SCORES = {
    "base": {"loss": 2.31, "accuracy": 0.02, "low": 0.0, "high": 0.09, "n": 58, "module": None},
    "best_single": {"loss": 0.94, "accuracy": 0.28, "low": 0.18, "high": 0.4, "n": 58, "module": "owner/sums"},
    "uniform": {"loss": 1.9, "accuracy": 0.22, "low": 0.14, "high": 0.35, "n": 58, "module": None},
    "composed": {"loss": 0.43, "accuracy": 0.57, "low": 0.44, "high": 0.69, "n": 58, "module": None},
}


def client(user: User | None = None) -> Client:
    """A client that is logged in as `user`."""
    made = Client()
    if user is not None:
        made.force_login(user)
    return made


@pytest.fixture
def anonymous(db: Any) -> Client:
    return client()


@pytest.fixture
def as_owner(owner: User) -> Client:
    return client(owner)


@pytest.fixture
def as_friend(friend: User) -> Client:
    return client(friend)


@pytest.fixture
def as_stranger(stranger: User) -> Client:
    return client(stranger)


@pytest.fixture
def secret(owner: User, upload: Upload) -> Adapter:
    """A private adapter with a word of its own in card and tags."""
    return upload(owner, "hush-plan", private=True, seed=1, tags=("hushtag",), card="# Hush\n\nA hushword inside.\n")


def compose(user: User, weights: dict[Adapter, float], **more: Any) -> Adapter:
    """A composed adapter with scores and a recipe."""
    return published(user, weights, **{"scores": SCORES, "files": {**make.adapter(seed=99), "recipe.json": b"{}"}, **more})


def submit(user: User, *modules: str, **more: Any) -> Composition:
    """A queued composition."""
    given: dict[str, Any] = {"base_model": make.BASE, "modules": list(modules) or "auto", "examples": EXAMPLES, "name": "result", **more}
    return jobs.submit(actor=user, **given)


def finished(owner: User, folder: Path, **more: Any) -> Composition:
    """A private composition of one adapter with sample answers to two of its examples."""
    job = claimed(submit(owner, "owner/sums", private=True))
    lines = [{"row": 1, "base": "<b>11</b>", "best_single": "2", "composed": "2"}, {"row": 4, "base": "", "best_single": "9", "composed": "8"}]
    report = {"samples": {"held_out": True, "best_single": "owner/sums", "rows": lines, **more}}
    return runs.finish(job=job, result=result(folder, {"owner/sums": 1.0}, report=report), folder=folder)


def text(response: HttpResponseBase) -> str:
    """What a page says, without markup; scripts and styles say nothing."""
    page = re.sub(r"<(script|style|symbol)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def page(response: HttpResponseBase, status: int = 200) -> str:
    """The HTML of a response that has this status."""
    assert response.status_code == status, text(response)[:600]
    return response.content.decode()
