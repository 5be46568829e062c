"""The meter's tick: keeps what each running run costs within what is held for it.

The cost itself stands on the run, by its proofs of life, and is shown from there. The ledger has it
at the run's end, and in between every ten minutes.
"""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from engine.status import Reason, Status
from studio.jobs.metering import charge_for_time, get_cost_mpoints, price_period
from studio.jobs.models import Run
from studio.jobs.services import stop_job
from studio.jobs.wakes import wake_user
from studio.points.selectors import Use, get_run_costs, get_run_hold, get_run_holds
from studio.points.services import hold_ahead

_BURNS = [Status.RUNNING.value, Status.STOPPING.value]


def meter_runs() -> int:
    """Look at every running run; charge those that are due, each in its own transaction.

    Due is what has cost ten minutes that are not written, or all that is held for it. Returns how
    many were looked at.
    """
    runs = list(_list_going().select_related("job"))
    ids = [run.pk for run in runs]
    costs, holds = get_run_costs(ids), get_run_holds(ids)
    for run in runs:
        unwritten = get_cost_mpoints(run) - costs.get(run.pk, 0)
        if unwritten >= min(price_period(run), holds.get(run.pk, 0)):
            _settle(run.pk)
    for owner_id in {run.job.owner_id for run in runs}:
        wake_user(owner_id, "points")
    return len(runs)


def list_run_uses(user_ids: Collection[int]) -> dict[int, Use]:
    """Return what people's runs cost now, by user id; who has none that runs is not in it."""
    runs = list(_list_going().filter(job__owner__in=user_ids).select_related("job"))
    charged = get_run_costs([run.pk for run in runs]) if runs else {}
    uses: dict[int, Use] = {}
    for run in runs:
        unwritten = max(0, get_cost_mpoints(run) - charged.get(run.pk, 0))
        use = Use(run.rate_mpoints_per_hour, unwritten)
        uses[run.job.owner_id] = uses.get(run.job.owner_id, Use()) + use
    return uses


def _list_going() -> QuerySet[Run]:
    return Run.objects.filter(
        status__in=_BURNS, job__is_platform=False, rate_mpoints_per_hour__gt=0
    )


@transaction.atomic
def _settle(run_id: UUID) -> None:
    """Charge a run up to its last proof of life, and hold points for what comes."""
    locked = Run.objects.select_for_update(of=("self",))
    run = locked.select_related("job__owner", "job__flavor").get(pk=run_id)
    if run.is_final:
        return
    if charge_for_time(run):
        stop_job(by=None, job=run.job, reason=Reason.POINTS_EXHAUSTED)
    elif run.status == Status.RUNNING:
        missing = price_period(run) - get_run_hold(run.pk)
        hold_ahead(
            user=run.job.owner, most_mpoints=missing, run_id=run.pk, note=f"Hold for {run.job.name}"
        )
