"""On whose behalf the hub is read, and who may change what."""

from dataclasses import dataclass
from typing import Union

from django.db.models import Q

from studio.accounts.models import User
from studio.core.errors import Forbidden, NotFound
from studio.hub.models import Repo, Visibility


@dataclass(frozen=True)
class Reader:
    """A person, or the platform's own servers, which read everything."""

    user: User
    reads_all: bool = False


Viewer = Union[User, Reader]  # noqa: UP007  User has no `|` of its own


def visible_to(viewer: Viewer) -> Q:
    """Return the filter of the repos a viewer may see."""
    if isinstance(viewer, Reader):
        return Q() if viewer.reads_all else visible_to(viewer.user)
    return Q(visibility=Visibility.PUBLIC) | Q(owner_id=viewer.pk)


def may_see(viewer: Viewer, repo: Repo) -> bool:
    """Say whether a viewer may know of a repo."""
    if isinstance(viewer, Reader):
        return viewer.reads_all or may_see(viewer.user, repo)
    return repo.visibility == Visibility.PUBLIC or repo.owner_id == viewer.pk


def may_write(user: User, repo: Repo) -> bool:
    """Say whether a person may change a repo: its owner, and an administrator a public one."""
    is_public = repo.visibility == Visibility.PUBLIC
    return repo.owner_id == user.pk or (is_public and user.has_role("administrator"))


def check_may_write(user: User, repo: Repo) -> None:
    """Let pass who may change a repo.

    Raises:
        NotFound: the person may not even know of it.
        Forbidden: they may see it and no more.
    """
    if may_write(user, repo):
        return
    if not may_see(user, repo):
        raise NotFound
    raise Forbidden(
        f"{repo.repo_id} belongs to {repo.namespace}: only its owner may change it.",
        field="repo",
        code="not_owner",
    )
