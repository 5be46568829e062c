"""What tells a node to ask the studio now rather than in a second: a word on the studio's Redis.

It carries nothing and nothing depends on it: with Redis away the node asks each second.
"""

import asyncio
import contextlib

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.machines.orders import bell_name

log = structlog.get_logger()

_AGAIN_S = 5.0
_QUIET_S = 20
"""After which the connection is proved to be there still."""


class Bell:
    """One node's."""

    def __init__(self, broker_url: str, node: str) -> None:
        """Take where the studio's Redis is; `listen` begins."""
        self._url = broker_url.replace("redis+socket://", "unix://", 1)
        self._name = bell_name(node)
        self._rung = asyncio.Event()

    async def listen(self) -> None:
        """Hear it until cancelled, whatever becomes of Redis."""
        while True:
            try:
                await self._hear()
            except (RedisError, OSError) as error:
                log.warning("bell_unheard", error=str(error))
            await asyncio.sleep(_AGAIN_S)

    async def wait(self, patience_s: float) -> None:
        """Return when it rings or has rung since the last time, and after `patience_s` anyway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._rung.wait()
        self._rung.clear()

    async def _hear(self) -> None:
        async with (
            Redis.from_url(self._url, health_check_interval=_QUIET_S) as redis,
            redis.pubsub(ignore_subscribe_messages=True) as channel,
        ):
            await channel.subscribe(self._name)
            while True:
                if await channel.get_message(timeout=_QUIET_S) is not None:
                    self._rung.set()
