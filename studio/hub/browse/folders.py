"""A folder of a commit: what lies in it, and which commit last changed each entry."""

from dataclasses import dataclass
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast, StrIndex, Substr

from studio.hub.errors import FileNotThere
from studio.hub.models import Commit, CommitFile
from studio.hub.selectors import list_history

_MOST_COMMITS = 200
_MOST_ROWS = 400_000
"""Of files times commits: what one page may compare."""


@dataclass(frozen=True)
class FolderEntry:
    """A file or a folder directly in a folder."""

    name: str
    path: str
    is_folder: bool
    num_files: int
    size_bytes: int


def list_folder(commit: Commit, folder: str) -> list[FolderEntry]:
    """Return what lies directly in a folder, its folders first; of the top, `folder` is empty.

    Raises:
        FileNotThere: there is no such folder.
    """
    rows = _split(commit.files.all(), folder).values("entry")
    rows = rows.annotate(
        num_files=Count("pk"),
        slash=Max("slash"),
        size=Sum(Cast("blob__size_bytes", BigIntegerField())),
    )
    entries = [
        FolderEntry(
            name=row["entry"],
            path=f"{folder}/{row['entry']}" if folder else row["entry"],
            is_folder=row["slash"] > 0,
            num_files=row["num_files"],
            size_bytes=row["size"],
        )
        for row in rows.order_by()
    ]
    if folder and not entries:
        raise FileNotThere(f"There is no folder {folder[:200]!r} in {commit.repo.repo_id}.")
    return sorted(entries, key=lambda entry: (not entry.is_folder, entry.name))


def find_last_changes(commit: Commit, folder: str, names: list[str]) -> dict[str, Commit]:
    """Return the commit that last changed each of some entries of a folder, folders as a whole.

    Looks back 200 commits at most, and fewer in a large folder: what is older is left out.
    """
    history = list_history(commit)
    reach = history[: _count_reach(commit, folder)]
    same = CommitFile.objects.filter(
        commit=commit, path=OuterRef("path"), blob_id=OuterRef("blob_id")
    )
    files = _split(CommitFile.objects.filter(commit_id__in=reach), folder)
    rows = (
        files.filter(entry__in=names)
        .annotate(is_same=Exists(same))
        .values("commit_id", "entry")
        .annotate(num=Count("pk"), num_same=Count("pk", filter=Q(is_same=True)))
        .order_by()
    )
    counted: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names}
    for row in rows:
        counted[row["entry"]][row["commit_id"]] = (row["num"], row["num_same"])
    last = {
        name: found
        for name, counts in counted.items()
        if (found := _find_change(counts, reach, is_all=len(reach) == len(history)))
    }
    commits = Commit.objects.select_related("author").in_bulk(set(last.values()))
    return {name: commits[pk] for name, pk in last.items()}


def _find_change(
    counts: dict[int, tuple[int, int]], reach: list[int], *, is_all: bool
) -> int | None:
    """Go back while an entry is as now: as many files, and each of them the same."""
    now = counts.get(reach[0])
    for newer, older in zip(reach, reach[1:], strict=False):
        if counts.get(older) != now:
            return newer
    return reach[-1] if is_all else None


def _count_reach(commit: Commit, folder: str) -> int:
    num_files = _split(commit.files.all(), folder).count()
    return max(2, min(_MOST_COMMITS, _MOST_ROWS // max(num_files, 1)))


def _split(files: QuerySet[Any], folder: str) -> QuerySet[Any]:
    """Annotate the files below a folder with the entry of the folder that each belongs to.

    Not by `startswith`, which SQLite takes whatever the capitals.
    """
    prefix = f"{folder}/" if folder else ""
    if prefix:
        files = files.alias(head=Substr("path", 1, len(prefix))).filter(head=prefix)
    rest = Substr("path", len(prefix) + 1)
    return files.annotate(rest=rest, slash=StrIndex("rest", Value("/"))).annotate(
        entry=Case(
            When(slash=0, then=F("rest")),
            default=Substr("rest", 1, F("slash") - Value(1, output_field=IntegerField())),
        )
    )
