"""Moves a model to a new revision without a gap: started beside the old one, tried, then switched.

Only requests that name no revision move. A revision that does not start or does not pass is set
aside, and the old one goes on answering.
"""

from collections.abc import Callable

from django.db import transaction
from django.db.models import QuerySet

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import Conflict, NotFound, StudioError
from studio.core.sentences import say
from studio.hub.models import Commit, Kind
from studio.hub.selectors import get_commit, get_repo
from studio.serving.models import OPEN, Deployment, DeploymentStatus, Rollout
from studio.serving.selectors import Wanted, is_alike
from studio.serving.services import ensure_deployment

Gate = Callable[[Deployment], str]
"""Tries a server that is up and returns why it may not answer, or nothing."""


def choose_commit(viewer: User, wanted: Wanted) -> Commit:
    """Return which commit answers a request now, and have a newer head started beside it.

    A commit that answers exactly as the served one does, such as with another card, is that.
    """
    head = wanted.base
    if not wanted.follows_head:
        rollout = Rollout.objects.filter(model=head.repo.repo_id).first()
        kept = _get_served(viewer, rollout, head)
        return kept if kept and is_alike(kept, head) else head
    rollout = _find(head)
    if rollout is None:
        return head
    served = _get_served(viewer, rollout, head)
    if served is None:  # its history was deleted
        _switch(rollout, head.sha)
        return head
    if _is_set_aside(rollout, head) or is_alike(served, head):
        return served
    if not _find_open(head, rollout.served):  # nothing answers that a switch could disturb
        _switch(rollout, head.sha)
        return head
    if rollout.candidate != head.sha:
        _begin(rollout, head)
    return served


def tend_rollouts(gate: Gate) -> int:
    """Switch what is ready and passes, set aside what is not; return how many were touched."""
    touched = 0
    for rollout in Rollout.objects.exclude(candidate=""):
        deployment = _find_latest(rollout.model, rollout.candidate)
        if deployment is None or deployment.status in _GONE:
            said = deployment.message if deployment else ""
            _set_aside(rollout, said or say("rollout_not_started"))
        elif deployment.status == DeploymentStatus.READY:
            if problem := gate(deployment):
                _set_aside(rollout, problem)
            else:
                _switch(rollout, rollout.candidate)
        else:
            continue
        touched += 1
    return touched + _mend_broken_switches()


def list_rollouts() -> QuerySet[Rollout]:
    """Return every model that has been asked for, by name."""
    return Rollout.objects.order_by("model")


def get_rollout(rollout_id: int) -> Rollout:
    """Return one.

    Raises:
        NotFound: there is none.
    """
    found = Rollout.objects.filter(pk=rollout_id).first()
    if found is None:
        raise NotFound
    return found


@transaction.atomic
def roll_back(*, by: User, rollout: Rollout) -> Rollout:
    """Have the revision before answer again, and keep it whatever is pushed.

    Raises:
        NotFound: the caller does not operate.
        Conflict: nothing answered before.
    """
    if not by.has_role("operator"):
        raise NotFound
    locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
    if not locked.previous:
        raise Conflict(
            f"{locked.model} has answered from one revision only: there is none to go back to.",
            code="no_previous",
        )
    _retire(locked.model, locked.candidate)
    locked.served, locked.previous = locked.previous, locked.served
    locked.candidate, locked.is_held, locked.message = "", True, say("rollout_back")
    locked.save()
    _retire(locked.model, locked.previous)
    _keep(locked.model, locked.served)
    audit.record("rollout.rolled_back", actor=by, subject=str(locked))
    return locked


@transaction.atomic
def follow_head(*, by: User, rollout: Rollout) -> Rollout:
    """Let the model move with what is pushed again, and try anew what was set aside.

    Raises:
        NotFound: the caller does not operate.
    """
    if not by.has_role("operator"):
        raise NotFound
    locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
    locked.is_held, locked.refused, locked.message = False, "", ""
    locked.save()
    audit.record("rollout.follows", actor=by, subject=str(locked))
    return locked


_GONE = [
    DeploymentStatus.STOPPING.value,
    DeploymentStatus.STOPPED.value,
    DeploymentStatus.FAILED.value,
]


def _find(head: Commit) -> Rollout | None:
    """Return a model's rollout, begun now where it has none."""
    model = head.repo.repo_id
    rollout, is_new = Rollout.objects.get_or_create(model=model, defaults={"served": head.sha})
    return None if is_new else rollout


def _is_set_aside(rollout: Rollout, head: Commit) -> bool:
    return rollout.is_held or rollout.refused == head.sha


def _get_served(viewer: User, rollout: Rollout | None, head: Commit) -> Commit | None:
    """Return the commit that answers; None where it is in the model's history no more."""
    if rollout is None or rollout.served == head.sha:
        return head
    namespace, _, name = head.repo.repo_id.partition("/")
    try:
        return get_commit(get_repo(viewer, Kind.MODEL, namespace, name), rollout.served)
    except NotFound:
        return None


def _begin(rollout: Rollout, head: Commit) -> None:
    """Start a candidate; one that is on its way already for an older head is given up."""
    if rollout.candidate:
        _retire(rollout.model, rollout.candidate)
    changed = Rollout.objects.filter(pk=rollout.pk, candidate=rollout.candidate)
    if not changed.update(candidate=head.sha, message=say("rollout_begun")):
        return  # somebody else's request was first
    try:
        _keep(rollout.model, ensure_deployment(commit=head).revision)
    except StudioError as error:  # whoever asked is answered by what is served
        rollout.candidate = head.sha
        _set_aside(rollout, error.message)


@transaction.atomic
def _switch(rollout: Rollout, sha: str) -> None:
    """Let a revision answer; not where the rollout has moved since it was read."""
    locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
    has_moved = (locked.served, locked.candidate) != (rollout.served, rollout.candidate)
    if locked.served == sha or has_moved:
        return
    locked.previous, locked.served = locked.served, sha
    locked.candidate = locked.refused = locked.message = ""
    locked.save()
    _retire(locked.model, locked.previous)
    audit.record("rollout.switched", actor=None, subject=str(locked))


@transaction.atomic
def _set_aside(rollout: Rollout, why: str) -> None:
    """Give the candidate up; not where another has taken its place since it was read."""
    locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
    if locked.candidate != rollout.candidate:
        return
    locked.refused, locked.candidate = locked.candidate, ""
    locked.message = say("rollout_refused", problem=why)
    locked.save()
    _retire(locked.model, locked.refused)
    audit.record("rollout.refused", actor=None, subject=str(locked), why=why)


def _mend_broken_switches() -> int:
    """Go back where a revision that was switched to at once, with nothing beside it, fails."""
    mended = 0
    for rollout in Rollout.objects.exclude(previous="").filter(is_held=False, refused=""):
        last = _find_latest(rollout.model, rollout.served)
        if last is None or last.status != DeploymentStatus.FAILED or _has_answered(last):
            continue
        _go_back(rollout, last.message or say("rollout_not_started"))
        mended += 1
    return mended


@transaction.atomic
def _go_back(rollout: Rollout, why: str) -> None:
    locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
    if locked.is_held or (locked.served, locked.previous) != (rollout.served, rollout.previous):
        return
    locked.refused, locked.served, locked.previous = locked.served, locked.previous, ""
    locked.message = say("rollout_refused", problem=why)
    locked.save()
    audit.record("rollout.refused", actor=None, subject=str(locked), why=why)


def _find_open(head: Commit, sha: str) -> Deployment | None:
    return Deployment.objects.filter(model=head.repo.repo_id, revision=sha, status__in=OPEN).first()


def _find_latest(model: str, sha: str) -> Deployment | None:
    found = Deployment.objects.filter(model=model, revision=sha)
    return found.order_by("-created_at").first()


def _has_answered(deployment: Deployment) -> bool:
    """Say whether its revision was ever up: then its settings or its node are at fault, not it."""
    same = Deployment.objects.filter(model=deployment.model, revision=deployment.revision)
    return same.filter(started_at__isnull=False).exists()


def _retire(model: str, sha: str) -> None:
    """Let the servers of a revision end when nobody uses them any more."""
    found = Deployment.objects.filter(model=model, revision=sha, status__in=OPEN)
    found.update(is_retiring=True)


def _keep(model: str, sha: str) -> None:
    found = Deployment.objects.filter(model=model, revision=sha, status__in=OPEN)
    found.update(is_retiring=False)
