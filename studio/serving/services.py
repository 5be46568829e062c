"""What may be done with deployments: have one, use it, stop it. Their runs are platform jobs.

A run's row is always locked before its deployment's, here as in `studio.jobs`.
"""

import hashlib
import hmac
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from engine.status import FINAL, Reason, Status
from studio.accounts.models import User
from studio.accounts.selectors import get_platform_user
from studio.core import audit
from studio.core.errors import Conflict, NotFound, Unavailable
from studio.core.sentences import say
from studio.hub.access import Reader
from studio.hub.models import Commit, Kind
from studio.hub.selectors import get_commit, get_repo
from studio.jobs.services import stop_job, submit_job
from studio.jobs.wakes import wake_user
from studio.serving.models import OPEN, Deployment, DeploymentStatus
from studio.serving.serving_settings import plan_server

IDLE_AFTER = timedelta(minutes=30)
_FAILED_LATELY = timedelta(seconds=15)  # a server that cannot start is not started at each request
_USE_NOTED_EVERY = timedelta(seconds=15)
_RETIRES_AFTER = timedelta(minutes=2)  # longer than a stream goes without its use being noted


def ensure_deployment(*, commit: Commit, asked_by: User | None = None) -> Deployment:
    """Return the open deployment of a base model's commit, started now where there is none.

    Raises:
        Unavailable: one has failed just now, or its settings cannot be used; the message says why.
    """
    if found := _find_open(commit):
        return found
    _check_not_failing(commit)
    try:
        return _start(commit, asked_by)
    except IntegrityError:  # somebody else's request was first
        if found := _find_open(commit):
            return found
        raise


def get_server_token(deployment_id: UUID) -> str:
    """Return what a deployment's server asks of its callers: derived, so nothing is stored."""
    message = f"athanor.server-token.{deployment_id}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()


def mark_used(*, deployment: Deployment) -> None:
    """Note that somebody uses it, so that it is not idle; written every 15 s at most."""
    now = timezone.now()
    stale = Deployment.objects.filter(pk=deployment.pk, last_used_at__lt=now - _USE_NOTED_EVERY)
    stale.update(last_used_at=now)


@transaction.atomic
def add_adapter(*, deployment: Deployment, name: str) -> None:
    """Note that the deployment's server has loaded an adapter."""
    locked = Deployment.objects.select_for_update().get(pk=deployment.pk)
    if name not in locked.adapters:
        locked.adapters = [*locked.adapters, name]
        locked.save(update_fields=["adapters"])


@transaction.atomic
def drop_adapter(*, deployment: Deployment, name: str) -> None:
    """Note that the deployment's server does not know an adapter (any more)."""
    locked = Deployment.objects.select_for_update().get(pk=deployment.pk)
    locked.adapters = [known for known in locked.adapters if known != name]
    locked.save(update_fields=["adapters"])


def set_ready(*, job_id: UUID, url: str, served_name: str) -> None:
    """Note where a deployment's server listens."""
    now = timezone.now()
    starting = Deployment.objects.filter(job_id=job_id, status=DeploymentStatus.STARTING)
    starting.update(
        status=DeploymentStatus.READY,
        url=url.rstrip("/"),
        served_name=served_name,
        started_at=now,
        last_used_at=now,
        message="",
    )
    _wake(job_id)


def set_ended(*, job_id: UUID, status: str, message: str) -> None:
    """Note that a deployment's server is gone."""
    has_failed = status == Status.FAILED
    _end(Deployment.objects.filter(job_id=job_id), has_failed=has_failed, message=message)
    _wake(job_id)


@transaction.atomic
def stop_deployment(
    *, by: User | None, deployment: Deployment, reason: Reason = Reason.STOPPED_BY_OPERATOR
) -> Deployment:
    """Stop a deployment; the next request starts a new one. `by` None is the platform.

    Raises:
        NotFound: the caller does not operate.
    """
    if by is not None and not by.has_role("operator"):
        raise NotFound
    message = say("server_idle" if reason == Reason.IDLE else "stopped_by_operator")
    if deployment.job is not None:
        stop_job(by=by, job=deployment.job, reason=reason, message=message)
    stopping = Deployment.objects.filter(pk=deployment.pk, status__in=OPEN)
    stopping.update(status=DeploymentStatus.STOPPING, message=message, url="")
    audit.record("deployment.stopped", actor=by, subject=str(deployment), reason=reason.value)
    deployment.refresh_from_db()
    return deployment


@transaction.atomic
def restart_deployment(*, by: User, deployment: Deployment) -> Deployment:
    """Stop a deployment and start it anew as its model is to be served now; return the new one.

    Who asks meanwhile waits for it.

    Raises:
        NotFound: the caller does not operate, or the revision is there no more.
        Conflict: it is not up, or going down for another revision.
        Unavailable: the settings of its model cannot be used.
    """
    if not by.has_role("operator"):
        raise NotFound
    if deployment.status not in OPEN or deployment.is_retiring:
        raise Conflict(
            f"The server of {deployment.model} is stopping: the next request starts it anew.",
            code="server_stopping",
        )
    namespace, _, name = deployment.model.partition("/")
    repo = get_repo(Reader(by, reads_all=True), Kind.MODEL, namespace, name)
    commit = get_commit(repo, deployment.revision)
    stop_deployment(by=by, deployment=deployment)
    return ensure_deployment(commit=commit, asked_by=by)


def tend_deployments() -> int:
    """Stop what is idle, and end what has lost its run; return how many were touched."""
    touched = 0
    for deployment in Deployment.objects.exclude(status__in=_ENDED).select_related(
        "job__current_run"
    ):
        run = deployment.job.current_run if deployment.job else None
        if run is None:
            lost = Deployment.objects.filter(pk=deployment.pk)
            _end(lost, has_failed=True, message="Its run is gone.")
        elif Status(run.status) in FINAL:
            set_ended(job_id=run.job_id, status=run.status, message=run.message)
        elif _is_idle(deployment):
            stop_deployment(by=None, deployment=deployment, reason=Reason.IDLE)
        else:
            continue
        touched += 1
    return touched


_ENDED = [DeploymentStatus.STOPPED.value, DeploymentStatus.FAILED.value]


def _find_open(commit: Commit) -> Deployment | None:
    return Deployment.objects.filter(
        model=commit.repo.repo_id, revision=commit.sha, status__in=OPEN
    ).first()


def _check_not_failing(commit: Commit) -> None:
    since = timezone.now() - _FAILED_LATELY
    failed = Deployment.objects.filter(
        Q(status=DeploymentStatus.FAILED),
        model=commit.repo.repo_id,
        revision=commit.sha,
        ended_at__gte=since,
    ).order_by("-ended_at")
    last = failed.first()
    if last is not None:
        said = last.message or "its log says why"
        raise Unavailable(
            f"{commit.repo.repo_id} could not be served: {said}",
            code="deployment_failed",
            model=commit.repo.repo_id,
        )


@transaction.atomic
def _start(commit: Commit, asked_by: User | None) -> Deployment:
    repo_id, plan = commit.repo.repo_id, plan_server(commit.repo)
    deployment = Deployment.objects.create(model=repo_id, revision=commit.sha, asked_by=asked_by)
    deployment.job, _ = submit_job(
        owner=get_platform_user(),
        spec={"kind": "serve", "model": f"{repo_id}@{commit.sha}", **plan.spec},
        flavor_name=plan.flavor,
        name=f"Chat: {commit.repo.name}",
        is_platform=True,
    )
    deployment.save(update_fields=["job"])
    audit.record("deployment.started", actor=asked_by, subject=str(deployment))
    return deployment


def _end(deployments: QuerySet[Deployment], *, has_failed: bool, message: str) -> None:
    deployments.exclude(status__in=_ENDED).update(
        status=DeploymentStatus.FAILED if has_failed else DeploymentStatus.STOPPED,
        message=message,
        url="",
        adapters=[],
        ended_at=timezone.now(),
    )


def _is_idle(deployment: Deployment) -> bool:
    is_open = deployment.status in OPEN
    after = _RETIRES_AFTER if deployment.is_retiring else IDLE_AFTER
    return is_open and deployment.last_used_at < timezone.now() - after


def _wake(job_id: UUID) -> None:
    asked = Deployment.objects.filter(job_id=job_id, asked_by__isnull=False)
    for user_id in asked.values_list("asked_by_id", flat=True):
        wake_user(user_id, "deployments")
