"""The periodic work of labelling."""

from uuid import UUID

import structlog
from celery import shared_task
from django.db import DatabaseError

from studio.labelling import drafting

log = structlog.get_logger(__name__)


@shared_task
def tend_draftings() -> int:
    """Hand the rounds of drafting that stand idle to workers; return how many."""
    due = drafting.list_due()
    for drafting_id in due:
        advance_drafting.delay(str(drafting_id))
    return len(due)


@shared_task
def advance_drafting(drafting_id: str) -> None:
    """Draft rows for some seconds."""
    try:
        drafting.advance_drafting(UUID(drafting_id))
    except DatabaseError:  # away for now: the next beat goes on
        raise
    except Exception:  # the outermost frame: without it, it would fail every five seconds
        log.exception("labelling.drafting_failed", drafting_id=drafting_id)
        drafting.pause_crashed(UUID(drafting_id))
