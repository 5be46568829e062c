"""Says that there is something to do now: to the scheduler, and to a node. Nothing depends on it.

With Redis away the scheduler looks at its next beat, and a node asks within a second.
"""

from functools import cache

import structlog
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from studio.celery import app
from workers.machines.orders import bell_name

log = structlog.get_logger(__name__)

_TIMEOUT_S = 2.0
_PLACE = "studio.machines.tasks.place_machines"


def kick_placing() -> None:
    """Have waiting machines placed, once the transaction has committed."""
    transaction.on_commit(_kick)


def ring_node(name: str) -> None:
    """Have a node ask for its orders, once the transaction has committed."""
    transaction.on_commit(lambda: _ring(name))


def _kick() -> None:
    try:
        app.send_task(_PLACE, expires=10, retry=False, ignore_result=True)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("kick.lost", error=str(error))


def _ring(name: str) -> None:
    try:
        _connect().publish(bell_name(name), "")
    except (RedisError, OSError) as error:
        log.warning("bell.lost", node=name, error=str(error))


@cache
def _connect() -> Redis:
    return Redis.from_url(
        settings.REDIS_URL, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
    )
