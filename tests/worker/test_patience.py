"""What a worker does while a service is away: waits and tries again, for as long as it may, and not where waiting is of no use."""

import errno
from collections.abc import Callable

import pytest
from django.db import OperationalError
from kombu.transport import redis, virtual
from pytest_django.fixtures import Settings
from redis.exceptions import ConnectionError as Away

from compose_worker import patience
from hub import redis_broker
from hub.errors import HubError

pytestmark = pytest.mark.django_db
AWAY = [
    OperationalError("server closed the connection"),
    HubError("storage-unavailable", "Away.", status=503),
    HubError("storage-full", "Full.", status=507),
    OSError(errno.ENOSPC, "full"),
]
FINAL = [HubError("name-taken", "Taken.", status=409), OSError(errno.EACCES, "no"), ValueError("ours")]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none takes any time."""
    made: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", made.append)
    monkeypatch.setattr(patience.connection, "close", lambda: None)  # the test's transaction lives on it
    return made


def failing(error: Exception, times: int) -> Callable[[], int]:
    """Work that succeeds after so many failures and says how often it was begun."""
    begun = []

    def work() -> int:
        begun.append(1)
        if len(begun) <= times:
            raise error
        return len(begun)

    return work


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_what_is_away_comes_back(error: Exception, pauses: list[float]) -> None:
    assert patience.insist(failing(error, 7), seconds=1000) == 8
    assert pauses == [0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_it_gives_up_in_the_end_and_says_what_was_away(error: Exception, pauses: list[float], settings: Settings) -> None:
    settings.JOB_PATIENCE_SECONDS = -1
    with pytest.raises((OperationalError, HubError)) as caught:
        patience.insist(failing(error, 1))
    assert pauses == [] and (getattr(caught.value, "code", "") == "storage-full" if isinstance(error, OSError) else caught.value is error)


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_waiting_does_not_mend_is_raised_at_once(error: Exception, pauses: list[float]) -> None:
    with pytest.raises(type(error)):
        patience.insist(failing(error, 1), seconds=1000)
    assert pauses == []


def test_who_was_told_to_stop_waits_no_longer(pauses: list[float]) -> None:
    def stopped() -> None:
        if len(pauses) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        patience.insist(failing(AWAY[0], 100), stopped, seconds=1000)
    assert pauses == [0.1, 0.2]


def test_a_message_is_done_with_although_the_broker_does_not_hear_of_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def deaf(self: object, tag: str) -> None:
        raise Away("gone")

    done: list[str] = []
    monkeypatch.setattr(redis.QoS, "ack", deaf)
    monkeypatch.setattr(virtual.QoS, "ack", lambda self, tag: done.append(tag))
    redis_broker.QoS.ack(object.__new__(redis_broker.QoS), "7")
    assert done == ["7"] and "the broker does not take note" in caplog.text
