"""What /share shall hold. It is for everybody, so no viewer is asked for."""

from dataclasses import dataclass

from django.db.models import QuerySet, Sum

from studio.hub.errors import RevisionNotThere
from studio.hub.models import Commit, Gate, Repo, Visibility
from studio.hub.node_share.models import SharedRepo
from studio.hub.selectors import get_commit


@dataclass(frozen=True)
class ShareEntry:
    """A chosen repo and the commit that its revision names now, None where it names none."""

    shared: SharedRepo
    commit: Commit | None
    size_bytes: int = 0

    @property
    def path(self) -> str:
        """Return where it lies on a node."""
        repo = self.shared.repo
        return f"/share/{repo.kind}s/{repo.repo_id}"


def list_shared_repos() -> QuerySet[SharedRepo]:
    """Return what is chosen and may still be read by everybody, by name.

    A repo that its owner hid since is not deleted from the choice: shown again, it is back.
    """
    open_repos = Repo.objects.filter(visibility=Visibility.PUBLIC, gate=Gate.NONE)
    chosen = SharedRepo.objects.filter(repo__in=open_repos)
    joined = chosen.select_related("repo__head", "repo__owner", "chosen_by")
    return joined.order_by("repo__kind", "repo__namespace", "repo__name")


def describe_share() -> list[ShareEntry]:
    """Return what every node shall hold."""
    return [_describe(shared) for shared in list_shared_repos()]


def _describe(shared: SharedRepo) -> ShareEntry:
    commit = _find_commit(shared)
    if commit is None:
        return ShareEntry(shared, None)
    total = commit.files.aggregate(total=Sum("blob__size_bytes"))["total"]
    return ShareEntry(shared, commit, total or 0)


def _find_commit(shared: SharedRepo) -> Commit | None:
    try:
        return get_commit(shared.repo, shared.revision)
    except RevisionNotThere:  # the branch or tag was removed since
        return None
