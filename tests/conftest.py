"""The cast and the stage that all tests share."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache, caches
from playwright.sync_api import Browser, expect, sync_playwright
from pytest_django.fixtures import Settings

from hub.models import Adapter, Parent, Revision, User
from hub.services import accounts, adapters
from tests import browser, make

PASSWORD = "correct horse battery"


SLOW = ("faults", "worker", "hf", "e2e", "engine", "demo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take longest, so that no process is left alone with one of them at the end."""
    items.sort(key=lambda item: SLOW.index(item.path.parent.name) if item.path.parent.name in SLOW else len(SLOW))


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """Give each test a blob store of its own, and no memory of throttles."""
    settings.BLOBS_DIR = tmp_path / "blobs"
    settings.WORK_DIR = tmp_path / "work"
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path / "work")
    settings.WORK_DIR.mkdir()
    cache.clear()
    yield settings.BLOBS_DIR


def person(name: str) -> User:
    """An account whose password is PASSWORD."""
    return accounts.create_user(username=name, email=f"{name}@example.org", password=PASSWORD)


@pytest.fixture
def memory(settings: Settings) -> None:
    """Pages and lists are kept, as on a real hub; other tests change rows behind the verbs' backs."""
    settings.CACHES = {**settings.CACHES, "pages": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "kept-in-tests"}}
    caches["pages"].clear()


@pytest.fixture
def owner(db: Any) -> User:
    """Owns what the test is about."""
    return person("owner")


@pytest.fixture
def friend(db: Any) -> User:
    """Has an account and adapters of their own."""
    return person("friend")


@pytest.fixture
def stranger(db: Any) -> User:
    """Has an account and nothing to do with the matter."""
    return person("stranger")


Upload = Callable[..., Adapter]


def commit(adapter: Adapter, files: dict[str, bytes], **more: Any) -> Revision:
    """Commit bytes as the adapter's owner."""
    incoming = [adapters.Incoming(path, io.BytesIO(data)) for path, data in files.items()]
    return adapters.commit(actor=adapter.owner, adapter=adapter, files=incoming, **more)


@pytest.fixture
def upload(db: Any) -> Upload:
    """Make an adapter with one revision: upload(user, "name", private=..., tags=..., **arguments of make.adapter)."""

    def make_one(user: User, name: str, *, private: bool = False, tags: tuple[str, ...] = (), files: dict[str, bytes] | None = None, **more: Any) -> Adapter:
        adapter = adapters.create(actor=user, name=name, private=private, tags=tags)
        commit(adapter, files if files is not None else make.adapter(**more))
        adapter.refresh_from_db()
        return adapter

    return make_one


@pytest.fixture
def sums(owner: User, upload: Upload) -> Adapter:
    """A public adapter with a card."""
    card = "---\nlicense: apache-2.0\ntags: [arithmetic]\n---\n# Sums\n\nAdds small numbers.\n"
    return upload(owner, "sums", card=card)


def compose(
    user: User, weights: dict[Adapter, float], *, name: str = "mix", private: bool = False, scores: Any = None, files: dict[str, bytes] | None = None
) -> Adapter:
    """A composed adapter as the worker publishes it."""
    parents = [Parent(adapter=adapter, repo_id=adapter.repo_id, sha=adapter.head.sha, weight=weight) for adapter, weight in weights.items()]
    incoming = [adapters.Incoming(path, io.BytesIO(data)) for path, data in (files or make.adapter(seed=99)).items()]
    origin = adapters.Origin(recipe={}, scores=scores or {}, parents=parents)
    return adapters.publish(actor=user, name=name, private=private, files=incoming, origin=origin).adapter


@pytest.fixture(scope="session")
def chrome() -> Iterator[Browser]:
    """One browser for all tests: Playwright's synchronous interface runs once in a process."""
    # It keeps an event loop in this thread, which Django takes for an asynchronous program.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    expect.set_options(timeout=30_000)  # a busy machine is no fault of a page
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser.find(), args=["--no-sandbox"])
        yield started
        started.close()
