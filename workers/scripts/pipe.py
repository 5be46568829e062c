"""The reading end of a named pipe, and the descriptor that a run's events go to."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_PIECE = 256 * 1024
_ROOM = 1 << 20
_MOST_PIECES = 16  # then the rest of the run is cared for


class Pipe:
    """Open both ways, so that no writer is refused and none waits to open it."""

    def __init__(self, path: Path) -> None:
        """Open a named pipe.

        Raises:
            OSError: it is none.
        """
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # more than the node gives one user
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _ROOM)

    def read(self) -> Iterator[bytes]:
        """Return what is there now."""
        for _ in range(_MOST_PIECES):
            try:
                data = os.read(self.fd, _PIECE)
            except BlockingIOError:
                return
            yield data


def open_event_fd() -> int | None:
    """Return where the run's events go, as the engine was told; None where nobody records."""
    value = os.environ.get("ATHANOR_EVENT_FD", "")
    return int(value) if value.isdigit() else None
