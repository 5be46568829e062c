"""What is seen of a drive: listings, the tree, search, the trash. Read from the disk each time."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from studio.accounts.models import User
from studio.core.errors import BadInput, NotFound
from studio.drive.folders import open_folder, stat_at, walk
from studio.drive.models import Share, TrashEntry, Work
from studio.drive.names import fold, show, show_path
from studio.drive.spaces import open_space

SORTS = ("name", "-name", "size", "-size", "modified", "-modified")
_MOST_STATTED = 20_000  # sorting by size or time looks at every entry; by name, at one page
_MOST_FOLDERS = 1000
_MOST_WALKED = 50_000
_MOST_FOUND = 200


@dataclass(frozen=True)
class Page:
    """Which rows of a listing, and in which order."""

    sort: str = "name"
    number: int = 1
    size: int = 100


def describe(path: str, info: os.stat_result) -> dict[str, Any]:
    """Return what a listing says of one thing."""
    return {
        "name": path.rpartition("/")[2],
        "path": path,
        "kind": _kind(info.st_mode),
        "size_bytes": info.st_size if stat.S_ISREG(info.st_mode) else 0,
        "modified_at": _time(info),
        "is_clashing": False,
    }


def etag_of(info: os.stat_result) -> str:
    """Return what differs whenever a file was written or replaced."""
    return f'"{info.st_ino:x}-{info.st_mtime_ns:x}-{info.st_size:x}"'


def list_folder(user: User, parts: Sequence[str], page: Page) -> dict[str, Any]:
    """Return one page of a folder, folders first; only that page's entries are looked at.

    Raises:
        BadInput: the folder is too large to sort by anything but name.
        OSError: there is no such folder.
    """
    with open_space(user) as space, open_folder(space.home, parts) as folder:
        with os.scandir(folder) as entries:
            kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        key = page.sort.removeprefix("-")
        infos: dict[str, os.stat_result] = {}
        if key != "name":
            if len(kinds) > _MOST_STATTED:
                raise BadInput(
                    f"sort: this folder has more than {_MOST_STATTED} entries; sort it by name.",
                    field="sort",
                    code="too_many_to_sort",
                    most=_MOST_STATTED,
                )
            infos = _stat_all(folder, kinds)
        names = _sort(kinds, infos, page.sort)
        start = (page.number - 1) * page.size
        shown = names[start : start + page.size]
        infos = infos or _stat_all(folder, shown)
    alike = Counter(fold(name) for name in kinds)
    rows = []
    for name in shown:
        if name in infos:
            row = describe(show_path([*parts, name]), infos[name])
            rows.append(row | {"is_clashing": alike[fold(name)] > 1})
    return {
        "path": show_path(parts),
        "count": len(kinds),
        "page": page.number,
        "page_size": page.size,
        "results": rows,
    }


def list_folders(user: User, parts: Sequence[str]) -> dict[str, Any]:
    """Return the names of the folders in a folder, for the tree: no entry is looked at."""
    with (
        open_space(user) as space,
        open_folder(space.home, parts) as folder,
        os.scandir(folder) as entries,
    ):
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    names.sort(key=_by_name)
    return {
        "folders": [
            {"name": show(name), "path": show_path([*parts, name])}
            for name in names[:_MOST_FOLDERS]
        ],
        "is_complete": len(names) <= _MOST_FOLDERS,
    }


def get_entry(user: User, parts: Sequence[str]) -> dict[str, Any]:
    """Return one thing.

    Raises:
        OSError: it is not there.
    """
    with open_space(user) as space:
        info = stat_at(space.home, parts)
    return describe(show_path(parts), info) | {"etag": etag_of(info)}


def search(user: User, parts: Sequence[str], words: str) -> dict[str, Any]:
    """Return what has all the words in its name below a folder, with a bound on the walk."""
    wanted = fold(words).split()
    found, num_walked, is_complete = [], 0, True
    with open_space(user) as space:
        for one in walk(space.home, parts):
            num_walked += 1
            name = fold(one.parts[-1])
            if all(word in name for word in wanted):
                found.append(describe(show_path(one.parts), one.info))
            if len(found) == _MOST_FOUND or num_walked == _MOST_WALKED:
                is_complete = False
                break
    return {"results": found, "is_complete": is_complete}


def list_trash(user: User) -> QuerySet[TrashEntry]:
    """Return what lies in the trash, latest first."""
    return TrashEntry.objects.filter(user=user).order_by("-trashed_at", "pk")


def list_shares(user: User) -> QuerySet[Share]:
    """Return the links that still open, latest first."""
    living = Share.objects.filter(owner=user, expires_at__gt=timezone.now())
    return living.order_by("-created_at", "pk")


def list_works(user: User) -> QuerySet[Work]:
    """Return a person's works, latest first."""
    return Work.objects.filter(user=user).order_by("-created_at", "pk")


def get_work(user: User, work_id: Any) -> Work:
    """Return one work.

    Raises:
        NotFound: it is not this person's, or there is none.
    """
    work = list_works(user).filter(pk=work_id).first()
    if work is None:
        raise NotFound
    return work


def _stat_all(folder: int, names: Any) -> dict[str, os.stat_result]:
    infos = {}
    for name in names:
        try:
            infos[name] = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOENT:  # gone since the folder was read
                raise
    return infos


def _sort(kinds: dict[str, bool], infos: dict[str, os.stat_result], sort: str) -> list[str]:
    names = sorted(kinds, key=_by_name)
    key = sort.removeprefix("-")
    if key == "size":
        names = [name for name in names if name in infos]
        names.sort(key=lambda name: 0 if kinds[name] else infos[name].st_size)
    elif key == "modified":
        names = [name for name in names if name in infos]
        names.sort(key=lambda name: infos[name].st_mtime_ns)
    if sort.startswith("-"):
        names.reverse()
    names.sort(key=lambda name: not kinds[name])  # folders first, whatever the order
    return names


def _by_name(name: str) -> list[tuple[int, int, str]]:
    """Order `run 2` before `run 10`."""
    pieces: list[tuple[int, int, str]] = []
    digits = ""
    for letter in fold(name):
        if letter.isascii() and letter.isdigit() and len(digits) < 18:
            digits += letter
            continue
        if digits:
            pieces.append((0, int(digits), ""))
            digits = ""
        pieces.append((1, 0, letter))
    if digits:
        pieces.append((0, int(digits), ""))
    return [*pieces, (2, 0, name)]


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    return "link" if stat.S_ISLNK(mode) else "special"


def _time(info: os.stat_result) -> datetime:
    try:
        return datetime.fromtimestamp(info.st_mtime, tz=UTC)
    except (OverflowError, ValueError, OSError):  # a container may set any time
        return datetime.fromtimestamp(0, tz=UTC)
