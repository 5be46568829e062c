"""Branches and tags. `main` is always there and is the repo's own head; the others are refs."""

import re

from django.db import IntegrityError, transaction

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import BadInput, Conflict, NotFound
from studio.hub.access import check_may_write
from studio.hub.errors import RevisionNotThere
from studio.hub.models import Commit, Ref, RefKind, Repo

MAIN = "main"
MAX_REF = 100
_MOST_LISTED = 500
# As git's own check, but for characters that addresses would need to escape.
_NAME = re.compile(r"\A[A-Za-z0-9_](?:[A-Za-z0-9_.+\-]|/(?=[A-Za-z0-9_]))*\Z")
_TAKEN = {MAIN, "HEAD"}
_PREFIXES = {RefKind.BRANCH: "refs/heads/", RefKind.TAG: "refs/tags/"}


def find_ref(repo: Repo, revision: str) -> Ref | None:
    """Return the branch or tag of a name, short or as git writes it in full."""
    refs = repo.refs.select_related("commit")
    for kind, prefix in _PREFIXES.items():
        if revision.startswith(prefix):
            return refs.filter(kind=kind, name=revision.removeprefix(prefix)).first()
    return refs.filter(name=revision).first()


def list_refs(repo: Repo) -> list[Ref]:
    """Return the branches and tags beside `main`, by name, 500 of each at most."""
    refs = repo.refs.select_related("commit").order_by("name")
    return [ref for kind in RefKind.values for ref in refs.filter(kind=kind)[:_MOST_LISTED]]


def get_branch(repo: Repo, name: str) -> Ref:
    """Return a branch other than `main`.

    Raises:
        RevisionNotThere: the repo has none of that name.
    """
    ref = repo.refs.select_related("commit").filter(kind=RefKind.BRANCH, name=name).first()
    if ref is None:
        raise RevisionNotThere(f"{repo.repo_id} has no branch {name[:100]!r}; make it first.")
    return ref


def get_branch_head(repo: Repo, name: str) -> Commit | None:
    """Return a branch's newest commit; None of an empty `main`.

    Raises:
        RevisionNotThere: the repo has none of that name.
    """
    return repo.head if name == MAIN else get_branch(repo, name).commit


def lock_repo(repo: Repo) -> Repo:
    """Lock a repo and read it again; it may have been deleted meanwhile.

    Its head is not joined: that could be the head of before the wait for the lock.

    Raises:
        NotFound: it has been deleted.
    """
    locked = Repo.objects.select_for_update(of=("self",)).filter(pk=repo.pk).first()
    if locked is None:
        raise NotFound
    return locked


def create_ref(
    *, by: User, repo: Repo, kind: str, name: str, commit: Commit, message: str = ""
) -> Ref:
    """Make a branch or a tag at a commit.

    Raises:
        NotFound, Forbidden: the caller may not write here.
        BadInput: the name is none.
        Conflict: there is a branch or tag of that name.
    """
    check_may_write(by, repo)
    if not _NAME.match(name) or name.endswith((".lock", ".", "/")) or ".." in name:
        message = (
            f"{kind}: {name[:100]!r} cannot name one; use letters, digits, '.', '_', '-', '+' and "
            f"'/' between them, no '..'."
        )
        raise BadInput(message, field=kind, code="bad_ref")
    if len(name) > MAX_REF:
        message = f"{kind}: a name has {MAX_REF} characters at most."
        raise BadInput(message, field=kind, code="bad_ref")
    taken = f"{kind}: {repo.repo_id} has a branch or tag {name} already; choose another name."
    if name in _TAKEN:
        raise Conflict(taken, field=kind, code="ref_taken")
    try:
        with transaction.atomic():
            ref = Ref.objects.create(
                repo=repo, kind=kind, name=name, commit=commit, message=message[:300]
            )
    except IntegrityError as error:
        raise Conflict(taken, field=kind, code="ref_taken") from error
    audit.record("repo.ref_created", actor=by, subject=repo.repo_id, ref=name, sha=commit.sha)
    return ref


def delete_ref(*, by: User, repo: Repo, kind: str, name: str) -> None:
    """Delete a branch or a tag; its commits stay.

    Raises:
        NotFound, Forbidden: the caller may not write here.
        BadInput: it is `main`.
        RevisionNotThere: there is none.
    """
    check_may_write(by, repo)
    if name in _TAKEN:
        message = f"{kind}: {name} cannot be deleted; delete the repo instead."
        raise BadInput(message, field=kind, code="bad_ref")
    with transaction.atomic():
        lock_repo(repo)  # a push that is on its way finds it gone, or is done before
        count, _ = repo.refs.filter(kind=kind, name=name).delete()
    if not count:
        raise RevisionNotThere(f"{repo.repo_id} has no {kind} {name[:100]!r}.")
    audit.record("repo.ref_deleted", actor=by, subject=repo.repo_id, ref=name)
