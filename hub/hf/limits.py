"""Bounds how many requests one client sends in a window, and says so in the headers that Hugging Face clients wait by."""

import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from hub import files
from hub.errors import HubError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TooManyRequests(HubError):
    """The window is used up."""

    def __init__(self, limit: int, window: int, wait: int) -> None:
        super().__init__("too-many-requests", f"You have sent too many requests. Wait {wait} seconds.", status=429)
        policy = f'"fixed window";"api";q={limit};w={window}'
        self.headers = {"Retry-After": str(wait), "RateLimit": f'"api";r=0;t={wait}', "RateLimit-Policy": policy}


def check(request: HttpRequest) -> None:
    """Count this request, or refuse it."""
    known = request.user.is_authenticated
    limit, window = _rate("user" if known else "anon")
    if not limit:
        return
    count(f"user:{request.user.pk}" if known else files.address(request), limit, window)


def count(who: str, limit: int, window: int) -> None:
    """Count one request of `who`, or refuse it: at most `limit` in `window` seconds."""
    now = time.time()
    key = f"hf-rate:{who}:{int(now // window)}"
    try:
        number = cache.incr(key)
    except ValueError:  # the first one in this window
        number = 1
        if not cache.add(key, number, window + 1):  # another one was faster
            number = cache.incr(key)
    if number > limit:
        raise TooManyRequests(limit, window, int(window - now % window) + 1)


def _rate(who: str) -> tuple[int, int]:
    """Return requests and seconds of a rate such as 1200/min; no rate is no limit."""
    number, _, period = str(settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"].get(who) or "").partition("/")
    return (int(number), SECONDS[period[0]]) if period else (0, 1)
