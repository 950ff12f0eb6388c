"""A Redis cache that the site can do without: what it holds (rate limits, counts, codes of a login under way) may be gone, and the site goes on."""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 5.0  # nobody asks a cache that has just failed, so that requests do not wait for it one after another


class ForgivingRedisCache(RedisCache):
    """Answers as an empty cache that takes everything while Redis does not answer."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._silent_until = 0.0

    def _try(self, call: Callable[[], Any], otherwise: Any) -> Any:
        if time.monotonic() < self._silent_until:
            return otherwise
        try:
            return call()
        except RedisError as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            logger.warning("the cache does not answer, going on without it for %s seconds: %s", PAUSE_SECONDS, error)
            return otherwise

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """Say that the value is new."""
        return self._try(lambda: super(ForgivingRedisCache, self).add(key, value, timeout, version), True)

    def get(self, key: str, default: Any = None, version: Any = None) -> Any:
        """Return the default."""
        return self._try(lambda: super(ForgivingRedisCache, self).get(key, default, version), default)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Forget the value."""
        self._try(lambda: super(ForgivingRedisCache, self).set(key, value, timeout, version), None)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """Say that there is nothing."""
        return self._try(lambda: super(ForgivingRedisCache, self).touch(key, timeout, version), False)

    def delete(self, key: str, version: Any = None) -> Any:
        """Say that there was nothing."""
        return self._try(lambda: super(ForgivingRedisCache, self).delete(key, version), False)

    def get_many(self, keys: Any, version: Any = None) -> Any:
        """Return nothing."""
        return self._try(lambda: super(ForgivingRedisCache, self).get_many(keys, version), {})

    def has_key(self, key: str, version: Any = None) -> Any:
        """Say that there is nothing."""
        return self._try(lambda: super(ForgivingRedisCache, self).has_key(key, version), False)

    def incr(self, key: str, delta: int = 1, version: Any = None) -> Any:
        """Count from nothing."""
        return self._try(lambda: super(ForgivingRedisCache, self).incr(key, delta, version), delta)

    def set_many(self, data: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """Forget the values."""
        return self._try(lambda: super(ForgivingRedisCache, self).set_many(data, timeout, version), [])

    def delete_many(self, keys: Any, version: Any = None) -> None:
        """Do nothing."""
        self._try(lambda: super(ForgivingRedisCache, self).delete_many(keys, version), None)

    def clear(self) -> Any:
        """Do nothing."""
        return self._try(super().clear, False)
