"""What may be seen of jobs and runs. A stranger's job is not there; operators see all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from engine.status import FINAL, Status
from studio.accounts.models import User
from studio.core.errors import BadInput, NotFound
from studio.core.sentences import find_told
from studio.jobs.metering import get_cost_mpoints
from studio.jobs.models import Job, Run
from studio.jobs.reaping import SILENT_S
from studio.jobs.scheduler import list_queue
from studio.points.selectors import get_run_costs, get_run_holds

_FINAL = {status.value for status in FINAL}


@dataclass(frozen=True)
class JobFilter:
    """What a list is narrowed to; empty fields do not narrow."""

    status: str = ""
    """One status, or several with commas; `live` is all that are not final."""
    kind: str = ""
    search: str = ""
    is_mine: bool = False


def list_jobs(viewer: User, wanted: JobFilter | None = None) -> QuerySet[Job]:
    """Return the jobs a person may see, newest first, with their runs.

    The studio's own jobs are listed to operators who ask for their kind.

    Raises:
        BadInput: `status` names none.
    """
    wanted = wanted or JobFilter()
    jobs = _list_visible(viewer).order_by("-created_at")
    if wanted.is_mine:
        jobs = jobs.filter(owner=viewer)
    jobs = jobs.filter(kind=wanted.kind) if wanted.kind else jobs.filter(is_platform=False)
    if wanted.search:
        found = Q(name__icontains=wanted.search) | Q(output_repo__icontains=wanted.search)
        jobs = jobs.filter(found)
    if wanted.status:
        jobs = jobs.filter(current_run__status__in=_read_statuses(wanted.status))
    return jobs


def get_job(viewer: User, job_id: UUID) -> Job:
    """Return a job the person may see, with its runs.

    Raises:
        NotFound: there is none that they may see.
    """
    job = _list_visible(viewer).filter(pk=job_id).first()
    if job is None:
        raise NotFound
    return job


def get_run(viewer: User, run_id: UUID) -> Run:
    """Return a run of a job the person may see.

    Raises:
        NotFound: there is none that they may see.
    """
    visible = Run.objects.select_related("job__owner", "job__flavor", "node")
    run = visible.filter(_visible_to(viewer, "job__"), pk=run_id).first()
    if run is None:
        raise NotFound
    return run


def has_jobs(user: User) -> bool:
    """Say whether the person has ever launched one."""
    return Job.objects.filter(owner=user, is_platform=False).exists()


def get_run_labels(run_ids: Iterable[UUID]) -> dict[UUID, tuple[UUID, str, int]]:
    """Return (job id, job name, run index) by run id, for a statement's lines."""
    runs = Run.objects.filter(pk__in=list(run_ids))
    rows = runs.values_list("pk", "job_id", "job__name", "index")
    return {pk: (job_id, name, index) for pk, job_id, name, index in rows}


def describe_job(job: Job) -> dict[str, Any]:
    """Return all that the job's page shows."""
    return describe_jobs([job])[0]


def describe_jobs(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Return what a page shows of each job, in as many queries for many as for one."""
    runs = {run.pk: run for job in jobs for run in job.runs.all()}
    live = {pk: run for pk, run in runs.items() if not run.is_final}
    is_waiting = any(job.current_run and job.current_run.status == Status.QUEUED for job in jobs)
    queue = list_queue() if is_waiting else []
    costs = get_run_costs(runs)
    holds = get_run_holds(live) if live else {}
    for job in jobs:
        for run in job.runs.all():
            if run.pk in live and not job.is_platform:  # the ledger has it up to ten minutes later
                unwritten = max(0, get_cost_mpoints(run) - costs.get(run.pk, 0))
                costs[run.pk] = costs.get(run.pk, 0) + unwritten
                holds[run.pk] = max(0, holds.get(run.pk, 0) - unwritten)
    money = _Money(
        costs=costs,
        holds=holds,
        places={run_id: place for place, run_id in enumerate(queue, start=1)},
    )
    return [_describe_job(job, money) for job in jobs]


@dataclass(frozen=True)
class _Money:
    costs: dict[UUID, int]
    holds: dict[UUID, int]
    places: dict[UUID, int]


def _visible_to(viewer: User, prefix: str = "") -> Q:
    if viewer.has_role("operator"):
        return Q()
    return Q(**{f"{prefix}owner": viewer, f"{prefix}is_platform": False})


def _list_visible(viewer: User) -> QuerySet[Job]:
    runs = Run.objects.select_related("node").order_by("index")
    jobs = Job.objects.filter(_visible_to(viewer)).select_related("owner", "flavor", "current_run")
    return jobs.prefetch_related(Prefetch("runs", queryset=runs))


def _read_statuses(raw: str) -> list[str]:
    known = [status.value for status in Status]
    if raw == "live":
        return [status for status in known if status not in _FINAL]
    wanted = raw.split(",")
    if unknown := [status for status in wanted if status not in known]:
        raise BadInput(
            f"status: there is no {unknown[0]!r}; pick of live, {', '.join(known)}.",
            field="status",
            code="unknown_status",
            value=unknown[0],
        )
    return wanted


def _describe_job(job: Job, money: _Money) -> dict[str, Any]:
    runs = list(job.runs.all())
    last = runs[-1]
    has_checkpoint = any(a["role"] == "checkpoint" for run in runs for a in run.artifacts)
    return {
        "id": job.pk,
        "name": job.name,
        "kind": job.kind,
        "owner": job.owner.username,
        "spec": job.spec,
        "resolved": job.resolved,
        "flavor": job.flavor.name,
        "status": last.status,
        "reason": last.reason,
        "message": last.message,
        "told": find_told(last.message),
        "status_since": last.status_since,
        "created_at": job.created_at,
        "started_at": last.started_at,
        "ended_at": last.ended_at,
        "progress": last.progress,
        "cost_mpoints": sum(money.costs.get(run.pk, 0) for run in runs),
        "held_mpoints": money.holds.get(last.pk, 0),
        "price_mpoints_per_hour": last.rate_mpoints_per_hour,
        "queue_position": money.places.get(last.pk),
        "can_stop": not last.is_final and last.status != Status.STOPPING,
        "can_retry": last.is_final and not job.is_platform,
        # What succeeded has nothing left to go on with.
        "can_resume": has_checkpoint
        and last.status in (Status.FAILED, Status.STOPPED)
        and not job.is_platform,
        "output_repo": job.output_repo if job.output_revision else None,
        "output_revision": job.output_revision or None,
        "run": describe_run(last, money.costs.get(last.pk, 0)),
        "runs": [describe_run(run, money.costs.get(run.pk, 0)) for run in runs],
    }


def describe_run(run: Run, cost_mpoints: int) -> dict[str, Any]:
    """Return what a page shows of one run."""
    fields = (
        "index status reason message created_at started_at ended_at last_heartbeat_at next_seq "
        "log_bytes log_lines log_complete exit_code artifacts latest_metrics"
    )
    shown = {name: getattr(run, name) for name in fields.split()}
    shown |= {"id": run.pk, "node": run.node.name if run.node else None}
    shown["told"] = find_told(run.message)
    if not run.is_final:
        shown["log_complete"] = None
    return {**shown, "cost_mpoints": cost_mpoints, "is_silent": _is_silent(run)}


def _is_silent(run: Run) -> bool:
    """Say whether a run that should give signs of life has given none for a while."""
    if run.is_final or run.last_heartbeat_at is None:
        return False
    return (timezone.now() - run.last_heartbeat_at).total_seconds() > SILENT_S
