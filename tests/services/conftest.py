"""Modules and jobs that the tests of the services share."""

import pytest

from hub.models import Composition, User
from tests.conftest import Upload
from tests.services.stage import submit


@pytest.fixture
def modules(owner: User, friend: User, upload: Upload) -> list[str]:
    """Two open adapters of two people on the same base."""
    upload(owner, "one")
    upload(friend, "two", rank=2, seed=1)
    return ["owner/one", "friend/two"]


@pytest.fixture
def job(owner: User, friend: User, upload: Upload) -> Composition:
    """A waiting job with two modules of two people."""
    upload(owner, "one")
    upload(friend, "two", seed=1)
    return submit(owner, ["owner/one", "friend/two"])
