"""Where a hub's bytes lie: objects by the hash of their content, never changed once there.

`ObjectStore` is what a storage has to be; `LocalObjects` is a folder of this machine, and
`studio.hub.storage_s3` a bucket. A shelf is one kind of objects: whole files, or xorbs.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from django.conf import settings

from studio.core.errors import StudioError

Shelf = Literal["blobs", "xorbs"]
_PIECE_BYTES = 2**20
_STAGED = "staged"
_SYNCS_AT_ONCE = 16
_SPARED_BYTES = 512 * 2**20  # the disk is for logs and the database too


class StorageFault(RuntimeError):
    """The storage did not keep what it was given."""


class DiskFull(StudioError):
    """The storage takes no more: nothing was kept of what came, and nothing was deleted."""

    code = "disk_full"
    status = 507


@dataclass(frozen=True)
class StagedBlob:
    """Bytes that are safe on this machine's disk and not yet under their name."""

    sha256: str
    git_oid: str
    size_bytes: int
    path: Path


@dataclass(frozen=True)
class StoredObject:
    """An object as the storage lists it."""

    name: str
    stored_at: datetime


class ObjectStore(Protocol):
    """What the hub asks of a storage. A name is 64 hex digits."""

    def place(self, name: str, staged: Path) -> None:
        """Give a staged file its name; where the object is there already, drop the copy."""

    def place_many(self, staged: Mapping[str, Path]) -> None:
        """Give many staged files their names, as `place` does one."""

    def exists(self, name: str) -> bool:
        """Say whether an object is there."""

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; it seeks.

        Raises:
            FileNotFoundError: it is not there.
        """

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return that many bytes from `start`; from the end where `start` is negative.

        Raises:
            FileNotFoundError: it is not there.
        """

    def delete(self, name: str) -> None:
        """Remove an object; what is not there stays so."""

    def list_objects(self) -> Iterator[StoredObject]:
        """Yield all that is there."""

    def find_path(self, name: str) -> Path | None:
        """Return this machine's file that is the object, for a proxy to send; None elsewhere."""


class LocalObjects:
    """A folder: `ab/cd/<name>`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def place(self, name: str, staged: Path) -> None:
        """Give a staged file its name; where the object is there already, drop the copy."""
        if path := self._name(name, staged):
            sync_all([path.parent])

    def place_many(self, staged: Mapping[str, Path]) -> None:
        """Give many staged files their names, as `place` does one."""
        named = [self._name(name, path) for name, path in staged.items()]
        sync_all({path.parent for path in named if path})

    def exists(self, name: str) -> bool:
        """Say whether an object is there."""
        return self._path(name).exists()

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; it seeks.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._path(name).open("rb")

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return that many bytes from `start`; from the end where `start` is negative.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._path(name).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            begin = max(size + start, 0) if start < 0 else start
            return os.pread(file.fileno(), length, begin)

    def delete(self, name: str) -> None:
        """Remove an object; what is not there stays so."""
        self._path(name).unlink(missing_ok=True)

    def list_objects(self) -> Iterator[StoredObject]:
        """Yield all that is there."""
        for path in self._root.glob("??/??/*"):
            try:
                changed = path.stat().st_mtime
            except FileNotFoundError:  # deleted since it was listed
                continue
            yield StoredObject(path.name, datetime.fromtimestamp(changed, UTC))

    def find_path(self, name: str) -> Path | None:
        """Return the file that is the object."""
        return self._path(name)

    def _name(self, name: str, staged: Path) -> Path | None:
        """Move a staged file under its name, and return it; None where the object is there."""
        path = self._path(name)
        if path.exists() and path.stat().st_size == staged.stat().st_size:
            staged.unlink(missing_ok=True)
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        # A proxy that sends files is another user of this machine.
        staged.chmod(0o644 if settings.HUB_ACCEL else 0o640)
        return staged.replace(path)

    def _path(self, name: str) -> Path:
        assert len(name) == 64 and name.isalnum(), "an object's name is a hash"
        return self._root / name[:2] / name[2:4] / name


def get_store(shelf: Shelf = "blobs") -> ObjectStore:
    """Return the storage of a kind of objects, as this deployment has it."""
    if settings.HUB_S3:
        from studio.hub.storage_s3 import open_bucket  # boto3 comes with the `s3` extra only

        return open_bucket(shelf, **settings.HUB_S3)
    return _open_local(Path(settings.HUB_DIR) / shelf)


def stage(
    source: BinaryIO, *, on_bytes: Callable[[int], None] | None = None, is_synced: bool = True
) -> StagedBlob:
    """Copy a seekable source to this machine's disk; `on_bytes` is told each piece's size.

    Where `is_synced` is false, the disk may still lose it, until `sync_all`.

    Raises:
        DiskFull: it would not fit.
    """
    size_bytes = measure(source)
    check_room(size_bytes)
    digests = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    path = new_staged()
    try:
        with path.open("wb") as file:
            while piece := source.read(_PIECE_BYTES):
                for digest in digests:
                    digest.update(piece)
                file.write(piece)
                if on_bytes:
                    on_bytes(len(piece))
            if is_synced:
                sync_file(file)
        _check_size(path, size_bytes)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sha256, git_oid = (digest.hexdigest() for digest in digests)
    return StagedBlob(sha256, git_oid, size_bytes, path)


def new_staged() -> Path:
    """Return a new empty file on the disk where things lie until they have a name."""
    folder = staged_folder()
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder)
    os.close(handle)
    return Path(name)


def staged_folder() -> Path:
    """Return the folder of what is on its way in; a sweep empties it of what never arrived."""
    return Path(settings.HUB_DIR) / "blobs" / _STAGED


def check_room(num_bytes: int) -> None:
    """Let pass what fits on the disk that takes uploads.

    Raises:
        DiskFull: it would not.
    """
    root = Path(settings.HUB_DIR)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free - _SPARED_BYTES
    if num_bytes > free:
        raise DiskFull(
            f"The hub's disk has {max(free, 0) / 2**20:.0f} MiB left and this needs "
            f"{num_bytes / 2**20:.0f} MiB: ask the administrator for room.",
            needed=num_bytes,
            free=max(free, 0),
        )


def measure(source: BinaryIO) -> int:
    """Return a seekable source's length, and put it at its beginning."""
    size_bytes = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size_bytes


def sync_file(file: BinaryIO) -> None:
    """Wait until what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_all(paths: Iterable[Path]) -> None:
    """Wait until files and folders are on the disk, several at a time: it takes them together.

    Not by `syncfs`, which also waits for whatever others are writing, however much that is.
    """
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(_sync, paths))


@cache
def _open_local(root: Path) -> LocalObjects:
    return LocalObjects(root)


def _check_size(path: Path, size_bytes: int) -> None:
    kept = path.stat().st_size
    if kept != size_bytes:
        raise StorageFault(f"{size_bytes} bytes were to be stored and {kept} are there.")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
