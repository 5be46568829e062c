"""What machines and jobs of a node read at /share: chosen repos, each at one commit.

models/OWNER/NAME      a link to the commit's files; it moves to the next commit in one step
datasets/OWNER/NAME
.revisions/            the files, one folder a commit, as hard links to the node's cache

Links are relative, so they hold wherever the folder is mounted. What a link has left stays for a
day: a program that has begun to read finds the rest.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.orders import ShareOrder

_KEEP_LEFT_S = 86_400.0
_FILE_MODE, _FOLDER_MODE = 0o444, 0o755


class ShareDir:
    """The folder that is mounted as /share."""

    def __init__(self, path: Path) -> None:
        """Use a folder."""
        self._path = path
        self._revisions = path / ".revisions"

    def create(self) -> None:
        """Make the folder, for everybody to read, without what a crash left half made."""
        for folder in (self._path, self._revisions):
            folder.mkdir(exist_ok=True)
            folder.chmod(_FOLDER_MODE)
        for partial in self._revisions.glob(".new-*"):
            shutil.rmtree(partial)

    def holds(self, order: ShareOrder) -> bool:
        """Say whether the repo is laid out at this commit."""
        link, files = self._link(order), self._files(order)
        return link.is_symlink() and link.readlink() == _relative(link, files) and files.is_dir()

    def lay_out(self, order: ShareOrder, snapshot: Path) -> None:
        """Show a commit's files, which lie in a folder of the cache, in place of another's."""
        link, files = self._link(order), self._files(order)
        if not files.is_dir():
            self._fill(files, snapshot)
        os.utime(files)
        left = link.resolve() if link.is_symlink() else None
        for folder in (link.parent.parent, link.parent):
            folder.mkdir(exist_ok=True)
            folder.chmod(_FOLDER_MODE)
        partial = link.with_name(f".{link.name}.part")
        partial.unlink(missing_ok=True)
        partial.symlink_to(_relative(link, files))
        partial.replace(link)
        if left is not None and left.is_dir() and left != files:
            os.utime(left)  # its day begins now

    def retire(self, wanted: Iterable[ShareOrder]) -> None:
        """Take what is not wanted away from sight at once, and from the disk a day later."""
        kept = {self._link(order) for order in wanted}
        for link in list(self._list_links()):
            if link not in kept:
                files = link.resolve()
                link.unlink()
                if files.is_dir():
                    os.utime(files)
                if not any(link.parent.iterdir()):
                    link.parent.rmdir()
        shown = {link.resolve() for link in self._list_links()}
        for files in list(self._revisions.glob("*/*")):
            is_old = time.time() - files.stat().st_mtime > _KEEP_LEFT_S
            if files.resolve() not in shown and is_old:
                shutil.rmtree(files)
                if not any(files.parent.iterdir()):
                    files.parent.rmdir()

    def _fill(self, files: Path, snapshot: Path) -> None:
        partial = self._revisions / f".new-{files.parent.name}-{files.name}"
        shutil.rmtree(partial, ignore_errors=True)
        link_tree(snapshot, partial)
        files.parent.mkdir(exist_ok=True)
        files.parent.chmod(_FOLDER_MODE)
        partial.rename(files)

    def _link(self, order: ShareOrder) -> Path:
        return self._path / f"{order.kind}s" / order.repo

    def _files(self, order: ShareOrder) -> Path:
        return self._revisions / f"{order.kind}s--{order.repo.replace('/', '--')}" / order.sha

    def _list_links(self) -> Iterator[Path]:
        for kind in ("models", "datasets"):
            yield from (path for path in self._path.glob(f"{kind}/*/*") if path.is_symlink())


def link_tree(snapshot: Path, target: Path) -> None:
    """Lay out a folder of the cache in a new one, for everybody to read, as hard links."""
    target.mkdir()
    for source in sorted(snapshot.rglob("*")):
        place = target / source.relative_to(snapshot)
        if source.is_dir():
            place.mkdir()
            place.chmod(_FOLDER_MODE)
        else:
            _link_file(source.resolve(strict=True), place)
    target.chmod(_FOLDER_MODE)


def _relative(link: Path, files: Path) -> Path:
    return Path(os.path.relpath(files, link.parent))


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK):  # the cache is on another disk
            raise
        shutil.copyfile(source, target)
    target.chmod(_FILE_MODE)
