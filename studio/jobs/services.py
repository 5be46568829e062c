"""What may be done with jobs: the one door for other apps. What nodes do is in `ingest`."""

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from engine.specs import JOB_SPEC, AnySpec, QuantizeSpec, ScriptSpec, ServeSpec, TrainSpec
from engine.status import Reason, Status
from studio.accounts.models import User
from studio.compute.models import Flavor
from studio.core import audit
from studio.core.errors import BadInput, Conflict, NotFound, StudioError
from studio.core.sentences import say
from studio.drive.spaces import home_path
from studio.jobs.advisor import Advice, advise
from studio.jobs.ingest import Claim, Post, Receipt, claim_run, ingest_events, refuse_run
from studio.jobs.kicks import kick_scheduler
from studio.jobs.models import Job, Run
from studio.jobs.moves import Move, move_run
from studio.jobs.refs import get_short_name, name_output, name_start
from studio.jobs.wakes import wake_user
from studio.points.services import hold_points

__all__ = [
    "Claim",
    "Post",
    "Receipt",
    "claim_run",
    "ingest_events",
    "refuse_run",
    "rename_job",
    "retry_job",
    "stop_job",
    "submit_job",
]

_MOST_NAME = 120
_MOST_KEY = 200


@dataclass(frozen=True)
class _Launch:
    """A launch that nothing stands against, but perhaps the points by the time they are held."""

    spec: AnySpec
    raw: dict[str, Any]
    flavor: Flavor
    hold_mpoints: int = 0
    resolved: dict[str, Any] = field(default_factory=dict)
    image_reference: str = ""
    is_platform: bool = False


def submit_job(
    *,
    owner: User,
    spec: dict[str, Any],
    flavor_name: str,
    name: str = "",
    key: str | None = None,
    is_platform: bool = False,
) -> tuple[Job, bool]:
    """Launch a job: hold its points and make it with its first run; say whether it is new.

    `key` makes it safe to send again: the same key and wish answer the job that is there.
    `is_platform` is for the studio's own jobs: any kind, any flavor, no points, refs taken as they
    are.

    Raises:
        SpecValidationError: the spec breaks its own rules.
        StudioError: what the advisor refuses; `idempotency_conflict` for a key used otherwise.
        PointsExhausted: the points went to another launch meanwhile.
    """
    key = _check_key(key)
    body_hash = _hash_body(spec, flavor_name, name)
    if job := _find_by_key(owner, key, body_hash):
        return job, False
    try:
        launch = (_plan_own if is_platform else _plan)(owner, spec, flavor_name)
    except StudioError:  # perhaps only because the same launch has taken the points meanwhile
        if job := _find_by_key(owner, key, body_hash):
            return job, False
        raise
    try:
        with transaction.atomic():
            job = _make_job(owner, launch, name)
            job.key, job.body_hash = key, body_hash
            job.full_clean(validate_constraints=False)
            job.save(force_insert=True)
            _make_run(job, launch)
    except IntegrityError:  # the same key, in the same moment
        if job := _find_by_key(owner, key, body_hash):
            return job, False
        raise
    return job, True


@transaction.atomic
def stop_job(
    *, by: User | None, job: Job, reason: Reason = Reason.STOPPED_BY_OWNER, message: str = ""
) -> Job:
    """Stop the job's live run; one that has ended stays as it is. `by` None is the platform.

    Raises:
        NotFound: the job is neither the caller's nor the caller an operator.
    """
    _check_may_stop(by, job)
    if by is not None and by != job.owner:
        reason = Reason.STOPPED_BY_OPERATOR
    run = _lock_current_run(job)
    if not run.is_final and not run.stop_reason:
        run.stop_reason, run.stop_message = reason.value, message or _say_stop(reason)
        run.stop_wanted_at = timezone.now()
        target = Status.STOPPED if run.status == Status.QUEUED else Status.STOPPING
        move_run(run, Move(target, reason, run.stop_message))
        audit.record("job.stopped", actor=by, subject=str(job.pk), reason=reason.value)
    job.refresh_from_db()
    return job


def retry_job(*, by: User, job: Job, resume: bool) -> Job:
    """Make the next run of a job that has ended, from its last checkpoint or from the start.

    It is the same job: the same spec on the same commits, whatever was pushed since.

    Raises:
        NotFound: the job is not the caller's.
        Conflict: it has not ended, or there is no checkpoint to resume from.
        StudioError: what the advisor refuses now.
    """
    if by != job.owner or job.is_platform:
        raise NotFound
    launch = _plan(job.owner, {**job.spec, **job.resolved}, job.flavor.name)
    with transaction.atomic():
        last = _lock_current_run(job)
        if not last.is_final:
            raise Conflict("This job has not ended yet: stop it first.", code="not_ended")
        resume_run = _find_checkpointed_run(job) if resume else None
        _make_run(job, launch, resume_run=resume_run)
        audit.record("job.retried", actor=by, subject=str(job.pk), resume=resume)
    job.refresh_from_db()
    return job


@transaction.atomic
def rename_job(*, by: User, job: Job, name: str) -> Job:
    """Give a job another name.

    Raises:
        NotFound: the job is not the caller's.
    """
    if by != job.owner:
        raise NotFound
    job.name = name
    job.full_clean(validate_constraints=False)
    job.save(update_fields=["name"])
    audit.record("job.renamed", actor=by, subject=str(job.pk), name=name)
    wake_user(job.owner_id, "jobs")
    return job


def _check_key(key: str | None) -> str | None:
    if key and len(key) > _MOST_KEY:
        message = f"Idempotency-Key has {len(key)} characters; {_MOST_KEY} are the most."
        raise BadInput(message, field="Idempotency-Key", code="too_long", most=_MOST_KEY)
    return key or None


def _hash_body(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _find_by_key(owner: User, key: str | None, body_hash: str) -> Job | None:
    job = Job.objects.filter(owner=owner, key=key).first() if key else None
    if job is not None and job.body_hash != body_hash:
        raise Conflict(
            "This Idempotency-Key was used for another launch: send a new key.",
            code="idempotency_conflict",
            job_id=str(job.pk),
        )
    return job


def _plan(owner: User, spec: dict[str, Any], flavor_name: str) -> _Launch:
    advice = advise(owner, spec, flavor_name)
    _refuse(advice)
    assert advice.spec is not None and advice.flavor is not None
    assert advice.hold_mpoints is not None
    if isinstance(advice.spec, ScriptSpec) and advice.spec.home == "drive":
        home_path(owner)  # made where it is missing: its node mounts it
    return _Launch(
        advice.spec,
        spec,
        advice.flavor,
        advice.hold_mpoints,
        advice.resolved,
        advice.image_reference,
    )


def _refuse(advice: Advice) -> None:
    if advice.spec_problem is not None:
        raise advice.spec_problem
    if advice.refusals:
        raise advice.refusals[0].to_error()


def _plan_own(owner: User, spec: dict[str, Any], flavor_name: str) -> _Launch:
    flavor = Flavor.objects.get(name=flavor_name)
    return _Launch(JOB_SPEC.validate_python(spec), spec, flavor, is_platform=True)


def _make_job(owner: User, launch: _Launch, name: str) -> Job:
    spec = launch.spec
    return Job(
        owner=owner,
        name=name or _name_job(spec),
        kind=spec.kind,
        spec={"kind": spec.kind, **launch.raw},
        resolved=launch.resolved,
        flavor=launch.flavor,
        is_platform=launch.is_platform,
        image_reference=launch.image_reference,
        output_repo=name_output(owner, spec),
    )


def _name_job(spec: AnySpec) -> str:
    if isinstance(spec, ScriptSpec):
        return " ".join(" ".join(spec.command).split())[:_MOST_NAME]
    if isinstance(spec, ServeSpec):
        return f"Chat: {get_short_name(spec.model)}"[:_MOST_NAME]
    if isinstance(spec, QuantizeSpec):
        return f"{get_short_name(spec.model)} in {spec.weight_bits} bits"[:_MOST_NAME]
    model = name_start(spec) if isinstance(spec, TrainSpec) else get_short_name(spec.model)
    more = f" and {len(spec.mixture)} more" if spec.mixture else ""
    return f"{model} on {get_short_name(spec.dataset)}{more}"[:_MOST_NAME]


def _make_run(job: Job, launch: _Launch, *, resume_run: Run | None = None) -> Run:
    now = timezone.now()
    run = Run(
        id=uuid.uuid4(),
        job=job,
        index=job.runs.count() + 1,
        created_at=now,
        status_since=now,
        rate_mpoints_per_hour=launch.flavor.price_mpoints_per_hour,
        resume_run=resume_run,
    )
    run.full_clean(validate_constraints=False)
    run.save(force_insert=True)
    job.current_run = run
    job.save(update_fields=["current_run"])
    if not launch.is_platform and launch.hold_mpoints:
        hold_points(
            user=job.owner, mpoints=launch.hold_mpoints, run_id=run.pk, note=f"Hold for {job.name}"
        )
    audit.record("run.made", actor=job.owner, subject=str(run.pk), job=str(job.pk))
    wake_user(job.owner_id, "jobs", "points")
    transaction.on_commit(kick_scheduler)
    return run


def _check_may_stop(by: User | None, job: Job) -> None:
    if by is None or by.has_role("operator") or (by == job.owner and not job.is_platform):
        return
    raise NotFound


def _lock_current_run(job: Job) -> Run:
    """Lock the newest run; while one waits for the lock, a retry may make a newer one."""
    locked = Run.objects.select_for_update(of=("self",)).select_related("job__owner", "job__flavor")
    while True:
        run = locked.filter(job=job).order_by("-index")[:1].get()
        if not job.runs.filter(index__gt=run.index).exists():
            return run


def _say_stop(reason: Reason) -> str:
    codes = {
        Reason.STOPPED_BY_OWNER: "stopped_by_owner",
        Reason.STOPPED_BY_OPERATOR: "stopped_by_operator",
        Reason.POINTS_EXHAUSTED: "points_used_up",
    }
    return say(codes.get(reason, "stopped_by_studio"))


def _find_checkpointed_run(job: Job) -> Run:
    for run in job.runs.order_by("-index"):
        if any(artifact["role"] == "checkpoint" for artifact in run.artifacts):
            return run
    raise Conflict(
        "No run of this job has kept a checkpoint: retry it from the start.", code="no_checkpoint"
    )
