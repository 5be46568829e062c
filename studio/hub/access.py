"""On whose behalf the hub is read, and who may see, read and change what: decided here alone.

To *see* a repo is to know of it: its name, card and list of files. To *read* it is to have its
files; the two differ where it is gated. To *write* it is to change it.
"""

from dataclasses import dataclass
from typing import Union

from django.db.models import Q

from studio.accounts.models import Membership, OrganizationMember, User
from studio.core.errors import Forbidden, NotFound
from studio.hub.errors import RepoGated
from studio.hub.models import AccessRequest, AccessState, Gate, Repo, Visibility

_WRITERS = (Membership.CONTRIBUTOR, Membership.ADMIN)


@dataclass(frozen=True)
class Reader:
    """A person, the platform's own servers, which read everything, or a node's own hand."""

    user: User
    reads_all: bool = False
    reads_open: bool = False
    """Reads what is open to everybody, and not the rest of what the user may."""


@dataclass(frozen=True)
class Rights:
    """What somebody may do with a repo they see, and what became of their wish for its files."""

    read: bool
    write: bool
    manage: bool
    asked: str | None


Viewer = Union[User, Reader]  # noqa: UP007  User has no `|` of its own


def visible_to(viewer: Viewer) -> Q:
    """Return the filter of the repos a viewer may see."""
    if isinstance(viewer, Reader):
        if viewer.reads_open:
            return Q(visibility=Visibility.PUBLIC, gate=Gate.NONE)
        return Q() if viewer.reads_all else visible_to(viewer.user)
    mine = OrganizationMember.objects.filter(user_id=viewer.pk)
    organizations = mine.values("organization_id")
    mates = OrganizationMember.objects.filter(organization_id__in=organizations).values("user_id")
    of_my_class = Q(organization_id__in=organizations) | Q(organization=None, owner_id__in=mates)
    return (
        Q(visibility=Visibility.PUBLIC)
        | Q(organization=None, owner_id=viewer.pk)
        | Q(organization_id__in=mine.filter(role__in=_WRITERS).values("organization_id"))
        | (Q(visibility=Visibility.CLASS) & of_my_class)
    )


def readable_by(viewer: Viewer) -> Q:
    """Return the filter of the repos whose files a viewer may have."""
    if isinstance(viewer, Reader):
        if viewer.reads_open:
            return visible_to(viewer)
        return Q() if viewer.reads_all else readable_by(viewer.user)
    accepted = AccessRequest.objects.filter(user_id=viewer.pk, state=AccessState.ACCEPTED)
    open_to_me = Q(gate="") | Q(pk__in=accepted.values("repo_id")) | _owned_by(viewer)
    if viewer.has_role("administrator"):  # who may change a repo may read it
        open_to_me |= Q(visibility=Visibility.PUBLIC)
    return visible_to(viewer) & open_to_me


def may_see(viewer: Viewer, repo: Repo) -> bool:
    """Say whether a viewer may know of a repo."""
    return Repo.objects.filter(visible_to(viewer), pk=repo.pk).exists()


def check_may_read(viewer: Viewer, repo: Repo) -> None:
    """Let pass who may have a repo's files.

    Raises:
        NotFound: the viewer may not even know of it.
        RepoGated: they have to ask first, or have not been let in.
    """
    if not repo.gate:
        if not may_see(viewer, repo):
            raise NotFound
        return
    if Repo.objects.filter(readable_by(viewer), pk=repo.pk).exists():
        return
    if not may_see(viewer, repo):
        raise NotFound
    raise RepoGated(repo.repo_id)


def may_read(viewer: Viewer, repo: Repo) -> bool:
    """Say whether a viewer may have a repo's files."""
    return Repo.objects.filter(readable_by(viewer), pk=repo.pk).exists()


def may_write(user: User, repo: Repo) -> bool:
    """Say whether a person may change a repo: its owner, an organization's contributors and admins,
    and an administrator a public one."""
    if repo.visibility == Visibility.PUBLIC and user.has_role("administrator"):
        return True
    if repo.organization_id is None:
        return repo.owner_id == user.pk
    return may_write_in(user, repo.organization_id)


def may_manage(user: User, repo: Repo) -> bool:
    """Say whether a person may hide, move or delete a repo: of an organization's, its admins."""
    if repo.organization_id is None or not may_write(user, repo):
        return may_write(user, repo)
    is_maker = repo.owner_id == user.pk
    return is_maker or user.has_role("administrator") or is_admin_of(user, repo.organization_id)


def may_write_in(user: User, organization_id: int) -> bool:
    """Say whether a person makes and changes repos of an organization."""
    return _is_member(user, organization_id, _WRITERS)


def is_admin_of(user: User, organization_id: int) -> bool:
    """Say whether a person runs an organization."""
    return _is_member(user, organization_id, (Membership.ADMIN,))


def get_rights(user: User, repo: Repo) -> Rights:
    """Return what a person may do with a repo that they see."""
    asked = AccessRequest.objects.filter(user_id=user.pk, repo=repo).first() if repo.gate else None
    return Rights(
        read=not repo.gate or Repo.objects.filter(readable_by(user), pk=repo.pk).exists(),
        write=may_write(user, repo),
        manage=may_manage(user, repo),
        asked=asked.state if asked else None,
    )


def check_may_write(user: User, repo: Repo) -> None:
    """Let pass who may change a repo's files.

    Raises:
        NotFound: the person may not even know of it.
        Forbidden: they may see it and no more.
    """
    _check(may_write(user, repo), user, repo)


def check_may_manage(user: User, repo: Repo) -> None:
    """Let pass who may hide, move or delete a repo, or say who reads it.

    Raises:
        NotFound: the person may not even know of it.
        Forbidden: they may see it and no more.
    """
    _check(may_manage(user, repo), user, repo)


def _check(is_allowed: bool, user: User, repo: Repo) -> None:
    if is_allowed:
        return
    if not may_see(user, repo):
        raise NotFound
    raise Forbidden(
        f"{repo.repo_id} belongs to {repo.namespace}: only its owner may change it.",
        field="repo",
        code="not_owner",
    )


def _owned_by(user: User) -> Q:
    writes_in = OrganizationMember.objects.filter(user_id=user.pk, role__in=_WRITERS)
    own = Q(organization=None, owner_id=user.pk)
    return own | Q(organization_id__in=writes_in.values("organization_id"))


def _is_member(user: User, organization_id: int, roles: tuple[str, ...]) -> bool:
    return OrganizationMember.objects.filter(
        user_id=user.pk, organization_id=organization_id, role__in=roles
    ).exists()
