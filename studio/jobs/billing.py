"""The meter's tick: brings the charge of each running run up to its proof of life."""

from uuid import UUID

from django.db import transaction

from engine.status import Reason, Status
from studio.jobs.metering import charge_for_time
from studio.jobs.models import Run
from studio.jobs.services import stop_job
from studio.jobs.wakes import wake_user


def meter_runs() -> int:
    """Charge every running run, each in its own transaction; return how many were looked at."""
    going = Run.objects.filter(
        status__in=[Status.RUNNING.value, Status.STOPPING.value],
        job__is_platform=False,
        rate_mpoints_per_hour__gt=0,
    )
    ids = list(going.values_list("pk", flat=True))
    for run_id in ids:
        _meter(run_id)
    return len(ids)


@transaction.atomic
def _meter(run_id: UUID) -> None:
    locked = Run.objects.select_for_update(of=("self",))
    run = locked.select_related("job__owner", "job__flavor").get(pk=run_id)
    if run.is_final:
        return
    if charge_for_time(run):
        stop_job(by=None, job=run.job, reason=Reason.POINTS_EXHAUSTED)
    wake_user(run.job.owner_id, "points")
