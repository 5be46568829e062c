"""Where a hub's bytes lie: by their SHA-256, never changed once there.

`BlobStore` is what another storage would have to be; `LocalBlobs` is a folder of this machine.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings

_PIECE_BYTES = 2**20


class StorageFault(RuntimeError):
    """The disk did not keep what it was given."""


@dataclass(frozen=True)
class StagedBlob:
    """Bytes that are safe on disk and not yet under their name."""

    sha256: str
    git_oid: str
    size_bytes: int
    path: Path


class BlobStore(Protocol):
    """What the hub asks of a storage."""

    def stage(
        self, source: BinaryIO, *, on_bytes: Callable[[int], None] | None = None
    ) -> StagedBlob:
        """Copy a seekable source to stable storage; `on_bytes` is told each piece's size."""

    def place(self, staged: StagedBlob) -> None:
        """Give staged bytes their name; where they are there already, drop the copy."""

    def drop(self, staged: StagedBlob) -> None:
        """Forget staged bytes that nobody placed."""

    def open(self, sha256: str) -> BinaryIO:
        """Open stored bytes for reading.

        Raises:
            FileNotFoundError: they are not there.
        """

    def delete(self, sha256: str) -> None:
        """Remove stored bytes; what is not there stays so."""


class LocalBlobs:
    """A folder: `ab/cd/<sha256>`, and `staged/` for what is on its way in."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staged = root / "staged"

    def stage(
        self, source: BinaryIO, *, on_bytes: Callable[[int], None] | None = None
    ) -> StagedBlob:
        """Copy a seekable source to stable storage; `on_bytes` is told each piece's size."""
        self._staged.mkdir(parents=True, exist_ok=True)
        size_bytes = _measure(source)
        digests = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
        handle, name = tempfile.mkstemp(dir=self._staged)
        try:
            with os.fdopen(handle, "wb") as file:
                while piece := source.read(_PIECE_BYTES):
                    for digest in digests:
                        digest.update(piece)
                    file.write(piece)
                    if on_bytes:
                        on_bytes(len(piece))
                file.flush()
                os.fsync(file.fileno())
            _check_size(Path(name), size_bytes)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sha256, git_oid = (digest.hexdigest() for digest in digests)
        return StagedBlob(sha256, git_oid, size_bytes, Path(name))

    def place(self, staged: StagedBlob) -> None:
        """Give staged bytes their name; where they are there already, drop the copy."""
        path = self._path(staged.sha256)
        if path.exists() and path.stat().st_size == staged.size_bytes:
            staged.path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.path.chmod(0o640)
        staged.path.replace(path)
        _sync_folder(path.parent)

    def drop(self, staged: StagedBlob) -> None:
        """Forget staged bytes that nobody placed."""
        staged.path.unlink(missing_ok=True)

    def open(self, sha256: str) -> BinaryIO:
        """Open stored bytes for reading.

        Raises:
            FileNotFoundError: they are not there.
        """
        return self._path(sha256).open("rb")

    def delete(self, sha256: str) -> None:
        """Remove stored bytes; what is not there stays so."""
        self._path(sha256).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return what the disk still takes."""
        self._root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def _path(self, sha256: str) -> Path:
        assert len(sha256) == 64 and sha256.isalnum(), "a blob's name is its SHA-256"
        return self._root / sha256[:2] / sha256[2:4] / sha256


def get_store() -> LocalBlobs:
    """Return the storage that this deployment uses."""
    return _open_local(Path(settings.HUB_DIR) / "blobs")


@cache
def _open_local(root: Path) -> LocalBlobs:
    return LocalBlobs(root)


def _measure(source: BinaryIO) -> int:
    size_bytes = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size_bytes


def _check_size(path: Path, size_bytes: int) -> None:
    kept = path.stat().st_size
    if kept != size_bytes:
        raise StorageFault(f"{size_bytes} bytes were to be stored and {kept} are there.")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
