"""Wake-ups for open pages. They carry no data: a page that misses one reads on at its next poll.

Sent after the transaction, and never in the way: with Redis away the work goes on and pages fall
behind by their poll.
"""

import asyncio
from uuid import UUID

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

from studio.jobs.models import Run

log = structlog.get_logger(__name__)
_TIMEOUT_S = 2.0


def run_group(run_id: UUID | str) -> str:
    """Name the group of those who watch a run."""
    return f"run.{run_id}"


def user_group(user_id: int) -> str:
    """Name the group of a person's open pages."""
    return f"user.{user_id}"


def wake_run_viewers(run: Run, *, is_moved: bool) -> None:
    """Wake who watches the run, once the transaction has committed.

    `is_moved` says that more than the log changed: the job is to be read anew.
    """
    groups = [(run_group(run.pk), {"type": "run.wake", "is_moved": is_moved})]
    if is_moved:
        groups.append((user_group(run.job.owner_id), _changed("jobs", "points")))
    transaction.on_commit(lambda: _send(groups))


def wake_user(user_id: int, *what: str) -> None:
    """Tell a person's open pages what to read anew, once the transaction has committed."""
    transaction.on_commit(lambda: _send([(user_group(user_id), _changed(*what))]))


def _changed(*what: str) -> dict[str, object]:
    return {"type": "user.wake", "what": list(what)}


def _send(groups: list[tuple[str, dict[str, object]]]) -> None:
    async def send_all() -> None:
        layer = get_channel_layer()
        async with asyncio.timeout(_TIMEOUT_S):
            for group, message in groups:
                await layer.group_send(group, message)

    try:
        async_to_sync(send_all)()
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("wake.lost", groups=[group for group, _ in groups], error=str(error))
