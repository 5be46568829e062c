"""Gated repos: who asked for the files, and what the owner said."""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import Conflict, NotFound
from studio.hub.access import check_may_manage
from studio.hub.models import AccessRequest, AccessState, Gate, Repo


@transaction.atomic
def ask_access(*, by: User, repo: Repo) -> AccessRequest:
    """Ask for a gated repo's files; where it is gated automatically, one has them at once.

    Who asked before keeps the answer they got.

    Raises:
        Conflict: the repo is not gated.
    """
    if not repo.gate:
        raise Conflict(f"{repo.repo_id} is open: there is nothing to ask for.", code="not_gated")
    is_auto = repo.gate == Gate.AUTO
    state = AccessState.ACCEPTED if is_auto else AccessState.PENDING
    asked, made = AccessRequest.objects.get_or_create(
        repo=repo,
        user=by,
        defaults={"state": state, "decided_at": timezone.now() if is_auto else None},
    )
    if made:
        audit.record("repo.access_asked", actor=by, subject=repo.repo_id, state=state)
    return asked


@transaction.atomic
def decide_access(*, by: User, repo: Repo, username: str, state: str) -> AccessRequest:
    """Accept, reject or reopen somebody's wish; to accept who never asked is to invite them.

    Raises:
        NotFound, Forbidden: the caller may not manage the repo, or there is no such person.
    """
    check_may_manage(by, repo)
    user = User.objects.filter(username__iexact=username).first()
    if user is None:
        raise NotFound(f"user: there is nobody named {username[:60]}.", field="user")
    decided_at = None if state == AccessState.PENDING else timezone.now()
    request, _ = AccessRequest.objects.update_or_create(
        repo=repo, user=user, defaults={"state": state, "decided_at": decided_at}
    )
    audit.record(
        "repo.access_decided", actor=by, subject=repo.repo_id, user=user.username, state=state
    )
    return request


def find_asker(by: User, repo: Repo, request_id: str) -> str:
    """Return the username of a wish.

    Raises:
        NotFound: the repo has no such wish; or the caller may not know.
        Forbidden: the caller may not manage the repo.
    """
    check_may_manage(by, repo)
    is_number = request_id.isascii() and request_id.isdigit() and len(request_id) <= 18
    asked = repo.access_requests.filter(pk=int(request_id)).first() if is_number else None
    if asked is None:
        raise NotFound(f"requestId: there is no wish {request_id[:40]!r}.", field="requestId")
    return asked.user.username


def list_requests(by: User, repo: Repo, state: str) -> QuerySet[AccessRequest]:
    """Return who asked, first come first.

    Raises:
        NotFound, Forbidden: the caller may not manage the repo.
    """
    check_may_manage(by, repo)
    asked = AccessRequest.objects.filter(repo=repo, state=state).select_related("user")
    return asked.order_by("asked_at", "pk")
