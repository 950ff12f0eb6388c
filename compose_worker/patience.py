"""Waits where a service is away: what failed for want of it is done again, instead of failing the job."""

import logging
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from hub import storage
from hub.errors import HubError

logger = logging.getLogger(__name__)
Found = TypeVar("Found")
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between two tries; the last one again and again
PASSING = (503, 507)  # answers that may be others in a minute: a service is away, the disk is full


def insist(work: Callable[[], Found], check: Callable[[], None] = lambda: None, seconds: float | None = None) -> Found:
    """Do `work`, and do it again while a service that it needs is away, for JOB_PATIENCE_SECONDS; `check` raises what ends the waiting.

    What is done again must be able to find a part of itself done: the answer to what succeeded may have been lost.
    """
    deadline = time.monotonic() + (settings.JOB_PATIENCE_SECONDS if seconds is None else seconds)
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            connection.close()  # Django would go on with the one that is broken
            _give_up(error, deadline)
        except HubError as error:
            if error.status not in PASSING:
                raise
            _give_up(error, deadline)
        except OSError as error:
            if not storage.is_full(error):
                raise
            _give_up(storage.full(error), deadline)
        check()
        time.sleep(pause)
    raise AssertionError("the pauses do not end")


def _give_up(error: Exception, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise error
    logger.warning("a service is away, trying again: %s", error)
