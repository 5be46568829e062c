"""Asks the scheduler to look now rather than at its next beat. Nothing depends on it."""

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from studio.celery import app

log = structlog.get_logger(__name__)


def kick_scheduler() -> None:
    """Send the scheduler's task. With the broker away the beat does it some seconds later."""
    try:
        app.send_task(
            "studio.jobs.tasks.schedule_runs", expires=10, retry=False, ignore_result=True
        )
    except (OperationalError, RedisError, OSError) as error:
        log.warning("kick.lost", error=str(error))
