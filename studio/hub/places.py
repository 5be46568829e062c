"""Namespaces: where somebody makes repos, how a repo moves, and names that lead on."""

from dataclasses import dataclass

from django.db import IntegrityError, transaction

from studio.accounts.models import Organization, User
from studio.core import audit
from studio.core.errors import Conflict, Forbidden
from studio.hub.access import check_may_manage, may_write_in
from studio.hub.catalogue.services import index_repo
from studio.hub.models import OldName, Repo
from studio.hub.names import check_repo_name
from studio.hub.refs import lock_repo


@dataclass(frozen=True)
class Place:
    """A namespace as it is written; `organization` is None for a person's own."""

    namespace: str
    organization: Organization | None


def find_place(by: User, namespace: str) -> Place:
    """Return the namespace in which somebody makes repos.

    Raises:
        Forbidden: it is neither theirs nor an organization's that they write in.
    """
    if namespace.lower() == by.username.lower():
        return Place(by.username, None)
    organization = Organization.objects.filter(name__iexact=namespace).first()
    if organization is not None and may_write_in(by, organization.pk):
        return Place(organization.name, organization)
    raise Forbidden(
        f"namespace: you may make repos under {by.username}, not under {namespace[:100]}.",
        field="namespace",
        code="not_owner",
    )


def move_repo(*, by: User, repo: Repo, namespace: str, name: str) -> Repo:
    """Give a repo another name or namespace; the old one leads on until somebody takes it.

    Raises:
        NotFound, Forbidden: the caller may not manage it, or make repos there.
        BadInput: the name is none.
        Conflict: the name is taken.
    """
    check_may_manage(by, repo)
    name, place = check_repo_name(name), find_place(by, namespace)
    before = repo.repo_id
    try:
        with transaction.atomic():
            repo = lock_repo(repo)
            old = OldName(kind=repo.kind, namespace=repo.namespace, name=repo.name, repo=repo)
            repo.namespace, repo.organization, repo.name = place.namespace, place.organization, name
            if place.organization is None:
                repo.owner = by
            repo.save(update_fields=["namespace", "organization", "name", "owner"])
            forget_old_name(repo.kind, old.namespace, old.name)
            if repo.repo_id.lower() != before.lower():
                old.save(force_insert=True)
            forget_old_name(repo.kind, place.namespace, name)
            index_repo(repo)
    except IntegrityError as error:
        taken = f"{place.namespace}/{name}"
        message = f"name: there is a {repo.kind} {taken} already; choose another name."
        raise Conflict(message, field="name", code="name_taken", repo=taken) from error
    audit.record("repo.moved", actor=by, subject=repo.repo_id, before=before)
    return repo


def forget_old_name(kind: str, namespace: str, name: str) -> None:
    """Let a name lead nowhere else: it is taken."""
    OldName.objects.filter(kind=kind, namespace__iexact=namespace, name__iexact=name).delete()
