"""What a run costs: the time its node shows proof of, at the rate it was launched with."""

from django.utils import timezone

from studio.jobs.models import Run
from studio.points.services import WRITTEN_EVERY_S, charge_run

TICK_S = 10.0
_HOUR_S = 3600


def get_billable_s(run: Run) -> float:
    """Return the seconds to pay for: from the engine's start to its last proof of life.

    Both are read off the node's clock, so a slow network costs nothing. A clock that jumps cannot
    charge more than the studio itself has seen pass since the claim, and one tick.
    """
    if run.node_started_time is None or run.node_seen_time is None or run.claimed_at is None:
        return 0.0
    shown_s = run.node_seen_time - run.node_started_time
    passed_s = ((run.ended_at or timezone.now()) - run.claimed_at).total_seconds()
    return max(0.0, min(shown_s, passed_s + TICK_S))


def get_cost_mpoints(run: Run) -> int:
    """Return what the run has cost up to its last proof of life, rounded down."""
    return int(get_billable_s(run) * run.rate_mpoints_per_hour) // _HOUR_S


def price_period(run: Run) -> int:
    """Return what as much time costs as may be without its charge in the ledger, rounded up."""
    return -int(-WRITTEN_EVERY_S * run.rate_mpoints_per_hour // _HOUR_S)


def charge_for_time(run: Run) -> int:
    """Charge what the run has cost and is not charged yet; return what its owner could not cover.

    The caller holds the run's row lock.
    """
    if run.job.is_platform or run.rate_mpoints_per_hour == 0:
        return 0
    total = get_cost_mpoints(run)
    if total == 0:
        return 0
    return charge_run(user=run.job.owner, run_id=run.pk, total_mpoints=total)
