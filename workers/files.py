"""Files that are whole or absent: what a crash at any moment may leave behind."""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers.errors import WorkerError

_PRIVATE = 0o600


def write_whole(path: Path, data: bytes) -> None:
    """Put a private file in place in one step, on disk before it is seen."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def write_once(path: Path, value: dict[str, Any]) -> bool:
    """Put a JSON file in place unless one is there; say whether this call did.

    A link is used, not O_EXCL on the name itself, so that the file is never seen half written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.once")
    write_whole(partial, json.dumps(value).encode())
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    sync_folder(path.parent)
    return True


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a file, or None where there is no such file or no object in it."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def sync_folder(path: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def hold_lock(path: Path, owner: str) -> Iterator[None]:
    """Be the only process that holds this lock, until the block or the process ends.

    Raises:
        WorkerError: another process holds it.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkerError(
                f"Another `{owner}` works in {path.parent}: stop it, or change ATHANOR_NODE_DIR."
            ) from None
        yield
