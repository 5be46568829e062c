"""The only place that moves a run from one status to another, and settles what its end brings.

Callers hold the run's row lock. `engine.status.MOVES` is the one table of legal moves.
"""

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.utils import timezone

from engine.status import FINAL, PLATFORM_FAULTS, Reason, Status, can_move
from studio.jobs.hooks import get_listener
from studio.jobs.metering import charge_for_time
from studio.jobs.models import Run
from studio.jobs.wakes import wake_run_viewers
from studio.points.services import refund_run, release_run

log = structlog.get_logger(__name__)

_DEFAULT_REASONS = {
    Status.SUCCEEDED: Reason.COMPLETED,
    Status.STOPPED: Reason.STOPPED_BY_OWNER,
    Status.FAILED: Reason.INTERNAL_ERROR,
}


@dataclass(frozen=True)
class Move:
    """Where to, why, and when it happened."""

    status: Status
    reason: Reason = Reason.NONE
    message: str = ""
    at: datetime | None = None
    """None is now."""


def move_run(run: Run, move: Move) -> bool:
    """Move the run and save it; say whether that move was legal. An illegal one changes nothing."""
    old = Status(run.status)
    if not can_move(old, move.status):
        return False
    at = move.at or timezone.now()
    run.status, run.status_since = move.status.value, at
    run.reason = (move.reason or _DEFAULT_REASONS.get(move.status, Reason.NONE)).value
    run.message = move.message
    if move.status is Status.RUNNING:
        run.started_at = at
    if move.status in FINAL:
        _end(run, at)
    run.save()
    log.info("run.moved", run_id=str(run.pk), old=old.value, new=run.status, reason=run.reason)
    if run.is_final:
        get_listener(run.job.kind).on_end(run)
    wake_run_viewers(run, is_moved=True)
    return True


def _end(run: Run, at: datetime) -> None:
    run.ended_at = at
    run.progress = None
    if run.log_complete is None:
        run.log_complete = run.claimed_at is None  # never started: nothing can be missing
    if run.job.is_platform:
        return
    owner = run.job.owner
    if Reason(run.reason) in PLATFORM_FAULTS:
        refund_run(user=owner, run_id=run.pk, note=f"Platform fault: {run.reason}")
    else:
        charge_for_time(run)
    release_run(user=owner, run_id=run.pk)
