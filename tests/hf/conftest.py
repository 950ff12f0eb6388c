"""One site under gunicorn for all tests of this folder, and the newest client in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

from tests.hf.site import Site

disable_progress_bars()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running hub."""
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.stop()


@pytest.fixture
def api(site: Site) -> HfApi:
    """The newest client with the owner's token."""
    return HfApi(endpoint=site.url, token=site.token)


@pytest.fixture
def outsider(site: Site) -> HfApi:
    """The newest client with somebody else's token."""
    return HfApi(endpoint=site.url, token=site.stranger)


@pytest.fixture
def anonymous(site: Site) -> HfApi:
    """The newest client without a token."""
    return HfApi(endpoint=site.url, token=False)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A fresh cache."""
    return tmp_path / "cache"
