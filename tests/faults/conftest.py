"""One stack for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests import servers
from tests.faults.site import Site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A running stack that a calm job has gone through."""
    made = Site(servers.temporary_folder())
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def whole(site: Site) -> Iterator[None]:
    """Every test finds everything running and connected, and leaves no upload behind that is not as it was acknowledged."""
    site.mend()
    yield
    site.mend()
    site.check_store()
