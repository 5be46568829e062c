"""Reaches files below an open folder, one name at a time, and follows no link on the way.

A container may change the tree under us at any moment. So nothing is checked and then used by its
path: each step opens the next folder from the one in hand (openat with O_NOFOLLOW), and what comes
of it stays within. Not where the folders lie: see `spaces`.
"""

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from django.conf import settings

from studio.drive.errors import BadPath
from studio.drive.names import number_name

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)
_MOST_NUMBERED = 1000


@dataclass(frozen=True)
class Found:
    """One thing of a walk: the folder it lies in, by names from the start, and its own name."""

    parts: tuple[str, ...]
    info: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Say whether it is a folder."""
        return stat.S_ISDIR(self.info.st_mode)


@contextmanager
def open_folder(root: int, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Give a folder below another, its missing parts made where asked.

    Raises:
        OSError: a part is missing, a file, or a link.
    """
    here = os.dup(root)
    try:
        for name in parts:
            if make:
                with suppress(FileExistsError):
                    create_folder(here, name)
            below = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def create_folder(folder: int, name: str) -> None:
    """Make a folder, the drive's owner's.

    Raises:
        FileExistsError: the name is taken.
        OSError: it cannot be made.
    """
    os.mkdir(name, 0o755, dir_fd=folder)
    if settings.DRIVE_OWNER is not None:
        os.chown(
            name, settings.DRIVE_OWNER, settings.DRIVE_OWNER, dir_fd=folder, follow_symlinks=False
        )


def create_file(folder: int, name: str, mode: int = 0o644) -> int:
    """Make a file, the drive's owner's, and return it open for writing.

    Raises:
        FileExistsError: the name is taken.
        OSError: it cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, mode, dir_fd=folder)
    if settings.DRIVE_OWNER is not None:
        os.fchown(fd, settings.DRIVE_OWNER, settings.DRIVE_OWNER)
    return fd


@contextmanager
def open_parent(
    root: int, parts: Sequence[str], *, make: bool = False
) -> Iterator[tuple[int, str]]:
    """Give the folder that a thing lies in, and its name there.

    Raises:
        BadPath: it is the home itself.
    """
    if not parts:
        raise BadPath("path: your home itself stays where it is.", field="path")
    with open_folder(root, parts[:-1], make=make) as folder:
        yield folder, parts[-1]


def stat_at(root: int, parts: Sequence[str]) -> os.stat_result:
    """Return what a thing is; of a link, the link's own."""
    if not parts:
        return os.fstat(root)
    with open_parent(root, parts) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def open_file(root: int, parts: Sequence[str]) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        BadPath: it is none: a folder, a pipe, a device, a socket.
        OSError: it is missing, or a link is on the way.
    """
    with open_parent(root, parts) as (folder, name):
        # Without O_NONBLOCK a pipe would wait for a writer for ever.
        fd = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadPath("path: this is not a regular file.", field="path")
    return os.fdopen(fd, "rb")


def move_new(from_folder: int, name: str, to_folder: int, new_name: str) -> None:
    """Rename, never over anything.

    Raises:
        FileExistsError: the new name is taken.
        OSError: it cannot be renamed.
    """
    done = _libc.renameat2(
        from_folder, os.fsencode(name), to_folder, os.fsencode(new_name), _NOREPLACE
    )
    if done:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new_name)


def move_beside(from_folder: int, name: str, to_folder: int, new_name: str) -> str:
    """Rename under the first free one of `name`, `name (2)`, `name (3)`; return which."""
    for number in range(1, _MOST_NUMBERED):
        free = new_name if number == 1 else number_name(new_name, number)
        try:
            move_new(from_folder, name, to_folder, free)
        except FileExistsError:
            continue
        return free
    raise OSError(errno.EEXIST, "no free name", new_name)


def remove_tree(folder: int, name: str) -> None:
    """Delete a thing and all below it; a link itself, never what it names."""
    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def walk(root: int, parts: Sequence[str] = ()) -> Iterator[Found]:
    """Yield all below a folder, folders before what is in them; what vanishes is left out.

    One folder is open at a time, however deep the tree.
    """
    todo: list[tuple[str, ...]] = [tuple(parts)]
    while todo:
        here = todo.pop()
        try:
            with open_folder(root, here) as folder, os.scandir(folder) as entries:
                found = [
                    Found((*here, entry.name), info)
                    for entry in entries
                    if (info := _look(entry)) is not None
                ]
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP} and here != tuple(parts):
                continue
            raise
        found.sort(key=lambda one: one.parts)
        yield from found
        todo += [one.parts for one in reversed(found) if one.is_folder]


def _look(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
