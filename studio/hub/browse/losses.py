"""What is lost when a repo is deleted."""

from dataclasses import dataclass

from django.db.models import Sum

from studio.accounts.models import User
from studio.hub.access import check_may_manage
from studio.hub.catalogue.selectors import count_likes
from studio.hub.models import Blob, Kind, Repo
from studio.hub.selectors import RepoFilter, list_repos

_MOST_NAMED = 20


@dataclass(frozen=True)
class Losses:
    """What goes with a repo; `size_bytes` counts each content of its history once."""

    num_files: int
    size_bytes: int
    num_revisions: int
    num_refs: int
    likes: int
    num_users: int
    """Models built on it that whoever asks may see; more may be hidden from them."""
    users: list[str]


def tell_losses(viewer: User, repo: Repo) -> Losses:
    """Return what deleting a repo would lose.

    Raises:
        NotFound, Forbidden: the viewer may not manage it.
    """
    check_may_manage(viewer, repo)
    blobs = Blob.objects.filter(pk__in=repo.commits.values("files__blob_id"))
    users: list[str] = []
    if repo.kind == Kind.MODEL:
        built = list_repos(viewer, RepoFilter(kind=Kind.MODEL))
        built = built.filter(base_model__iexact=repo.repo_id).exclude(pk=repo.pk)
        users = [each.repo_id for each in built]
    return Losses(
        num_files=repo.head.files.count() if repo.head else 0,
        size_bytes=blobs.aggregate(total=Sum("size_bytes"))["total"] or 0,
        num_revisions=repo.commits.count(),
        num_refs=repo.refs.count(),
        likes=count_likes(repo),
        num_users=len(users),
        users=users[:_MOST_NAMED],
    )
