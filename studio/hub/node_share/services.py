"""Services that choose what lies under /share."""

from django.db import transaction

from studio.accounts.models import User
from studio.core.audit import record
from studio.core.errors import BadInput, Forbidden, NotFound
from studio.hub.models import Gate, Repo, Visibility
from studio.hub.node_share.models import SharedRepo
from studio.hub.refs import MAIN
from studio.hub.selectors import get_commit


@transaction.atomic
def share_repo(*, by: User, repo: Repo, revision: str = MAIN) -> SharedRepo:
    """Have every node keep a copy of a repo; of one that is chosen already, follow this revision.

    Raises:
        Forbidden: only operators choose.
        BadInput: not everybody may read the repo.
        RevisionNotThere: it has no such revision.
    """
    _check_operator(by)
    if repo.visibility != Visibility.PUBLIC or repo.gate != Gate.NONE:
        raise BadInput(
            f"repo: everybody on a node reads /share, and {repo.repo_id} is not for everybody; "
            "make it public and without a gate first.",
            field="repo",
            code="repo_not_open",
            name=repo.repo_id,
        )
    get_commit(repo, revision)
    shared, _ = SharedRepo.objects.update_or_create(
        repo=repo, defaults={"revision": revision, "chosen_by": by}
    )
    record("node_share.chosen", actor=by, subject=f"{repo.kind} {repo.repo_id}@{revision}")
    return shared


@transaction.atomic
def unshare_repo(*, by: User, repo: Repo) -> None:
    """Have the nodes give their copies up.

    Raises:
        Forbidden: only operators choose.
        NotFound: it is not chosen.
    """
    _check_operator(by)
    num, _ = SharedRepo.objects.filter(repo=repo).delete()
    if not num:
        raise NotFound
    record("node_share.dropped", actor=by, subject=f"{repo.kind} {repo.repo_id}")


def _check_operator(user: User) -> None:
    if not user.has_role("operator"):
        raise Forbidden("Only operators choose what lies under /share.", code="not_operator")
