"""Scratch disks of a fixed size: each a file with a file system of its own, mounted on the node.

That holds on whatever the node's disk is. A file takes what is in it and never more than its size;
a write beyond it fails in the machine alone.
"""

import os
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

import structlog

from workers.machines.binds import is_mounted, unbind
from workers.machines.walls import EngineFault

log = structlog.get_logger()

_PART = ".part"


class ScratchDisks:
    """Those of one node."""

    def __init__(self, files: Path, points: Path) -> None:
        """Take the folder of the files, on a disk, and the one of the mount points."""
        self._files, self._points = files, points

    @staticmethod
    def is_able() -> bool:
        """Say whether this node can make any."""
        return shutil.which("mkfs.ext4") is not None

    def show(self, name: str, num_bytes: int, *, owner: int) -> Path:
        """Return the folder of a scratch disk, which is made where it is new.

        Raises:
            EngineFault: it cannot be made or mounted.
        """
        file, point = self._files / name, self._points / name
        if is_mounted(point):
            return point
        if not file.exists():
            self._make(file, num_bytes, owner)
        self._mount(file, point)
        return point

    def show_all(self) -> None:
        """Show again all that there are, after `hide_all` or the node's own start."""
        for file in self._files.iterdir() if self._files.is_dir() else ():
            point = self._points / file.name
            if file.suffix == _PART or is_mounted(point):
                continue
            try:
                self._mount(file, point)
            except EngineFault as error:  # who needs it is told when it starts
                log.warning("scratch_left", disk=file.name, error=str(error))

    def hide_all(self) -> None:
        """Show none any more, for as long as nobody looks after them. Machines keep theirs, and a
        disk that is shown again is the one that they have: `mount` finds its device by the file.
        """
        for point in self._points.iterdir() if self._points.is_dir() else ():
            unbind(point)

    def measure(self) -> dict[str, int]:
        """Return how many bytes each that is mounted holds."""
        found = {}
        for point in self._points.iterdir() if self._points.is_dir() else ():
            if is_mounted(point):
                told = os.statvfs(point)
                found[point.name] = (told.f_blocks - told.f_bfree) * told.f_frsize
        return found

    def remove_all_but(self, kept: Collection[str]) -> None:
        """Remove the scratch disks that nobody has any more."""
        if not self._files.is_dir():
            return
        for file in self._files.iterdir():
            if file.name.removesuffix(_PART) in kept:
                continue
            point = self._points / file.name
            unbind(point)
            if not is_mounted(point):
                if point.is_dir():
                    point.rmdir()
                file.unlink(missing_ok=True)

    @staticmethod
    def _mount(file: Path, point: Path) -> None:
        point.mkdir(mode=0o711, parents=True, exist_ok=True)
        _call("mount", "-o", "loop,nosuid,nodev,noatime", str(file), str(point))
        if (point / "lost+found").is_dir():
            (point / "lost+found").rmdir()

    def _make(self, file: Path, num_bytes: int, owner: int) -> None:
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}{_PART}")
        with draft.open("wb") as made:
            made.truncate(num_bytes)
        lazily = f"root_owner={owner}:{owner},lazy_itable_init=1,lazy_journal_init=1,nodiscard"
        _call("mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazily, str(draft))
        draft.replace(file)


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())[:200]
        raise EngineFault("scratch_failed", disk=words[-1], words=said)
