"""Pages ask the database a fixed number of questions, however much there is to show."""

from collections.abc import Callable

import pytest
from django.core.cache import cache, caches
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from compose_worker.engine import spec
from hub.models import Collection, Composition, User
from hub.services import collections, comments, runs, social
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import claimed, measured
from tests.web.conftest import compose, submit

LIMIT = 12  # with session and user


@pytest.fixture
def fill(owner: User, friend: User, upload: Upload) -> Callable[[int], None]:
    """Add adapters, a mix of them all, revisions, files and jobs."""
    made: list[int] = []

    def add(count: int) -> None:
        rows = [upload(owner if n % 2 else friend, f"a{len(made)}-{n}", seed=100 * len(made) + n, tags=(f"t{n}", "x")) for n in range(count)]
        made.append(count)
        mix = compose(owner, {row: 0.1 + n for n, row in enumerate(rows)}, name=f"mix{len(made)}", files=make.adapter(seed=5000 + len(made)))
        for number, row in enumerate((*rows, mix)):
            measured(row, 1, 0.01 * number)
        first = rows[0]
        for n in range(count):
            commit(first, {f"note{len(made)}-{n}.txt": b"x%d" % n})
        job = claimed(submit(owner, name=f"job{len(made)}"))
        shelf = collections.listing(actor=owner).filter(title="all").first() or collections.create(actor=owner, title="all")
        for row in rows:
            collections.add(actor=owner, collection=shelf, adapter=row)
            social.like(actor=owner, adapter=row, on=True)
        collections.create(actor=owner, title="more")
        for n in range(count):
            comments.add(actor=friend if n % 2 else owner, adapter=first, body=f"comment {n}")
        for step in range(count):
            runs.record(job=job, evaluation=spec.Evaluation(step, "search", (0.1,), 1.0))

    return add


ADDRESSES = (
    "/",
    "/adapters",
    "/adapters?q=a&tag=x&sort=trending",
    "/owner",
    "/owner/mix1",
    "/friend/a0-0",
    "/friend/a0-0/revisions",
    "/friend/a0-0/comments",
    "/notifications",
    "/collections",
    "/owner?show=collections",
    "/owner?show=likes",
    "/compose",
    "/compositions",
    "/upload?to=owner/mix1",
    "/settings/tokens",
)


def asked_by(client: Client, address: str) -> int:
    """The number of queries of a page that nothing was remembered for."""
    cache.clear()
    caches["pages"].clear()
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200, address
    return len(asked)


@pytest.mark.usefixtures("memory")
def test_no_page_asks_more_when_there_is_more(as_owner: Client, fill: Callable[[int], None]) -> None:
    fill(3)
    addresses = [*ADDRESSES, f"/compositions/{Composition.objects.get().pk}", f"/collections/owner/{Collection.objects.get(title='all').slug}"]
    few = {address: asked_by(as_owner, address) for address in addresses}
    fill(9)
    assert {address: asked_by(as_owner, address) for address in addresses} == few
    assert max(few.values()) <= LIMIT, few
