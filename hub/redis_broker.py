"""Kombu's Redis transport for messages that may get lost or come twice: nobody waits long for it, and a worker goes on after a failure."""

import logging
from typing import Any

from kombu.transport import redis, virtual
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)


class QoS(redis.QoS):
    """Forgets a message that was dealt with even where Redis cannot be told so. Otherwise a worker waits for ever for room to take the next one."""

    def ack(self, delivery_tag: str) -> None:
        """Tell Redis, if it answers; if not, the message comes once more in a day."""
        try:
            super().ack(delivery_tag)
        except (RedisError, OSError) as error:
            logger.warning("the broker does not take note of a message that was dealt with: %s", error)
            virtual.QoS.ack(self, delivery_tag)


class Channel(redis.Channel):
    """Tries a command once; who rings tries again by itself."""

    QoS = QoS

    def _connparams(self, *arguments: Any, **options: Any) -> Any:
        return {**super()._connparams(*arguments, **options), "retry": Retry(NoBackoff(), 0)}


class Transport(redis.Transport):
    """The `redis://` transport, with the channel above."""

    Channel = Channel
