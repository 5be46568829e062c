"""Hanging up on another server from another thread, which frees the place there."""

import contextlib
import socket
import threading
from typing import Any

PASSED = "The deadline of this request has passed."
LEFT = "Whoever asked for this has left."


class HangUp:
    """The line of one exchange: whoever hangs up first says why, and once it is over nobody can.

    A line that does not lie there yet is hung up on as soon as it does.
    """

    def __init__(self) -> None:
        self.why: str | None = None
        """Why it was hung up on; None where it was not."""
        self._lock = threading.Lock()
        self._line: Any = None
        self._is_over = False
        self._timer: threading.Timer | None = None

    def hang_up(self, why: str = "") -> None:
        """Wake whoever reads, to the end of what comes."""
        with self._lock:
            if self._is_over or self.why is not None:
                return
            self.why = why
            self._shut()

    def take_stream(self, stream: Any) -> None:
        """Take the line's stream, as httpcore has it."""
        line = stream.get_extra_info("socket") if stream else None
        with self._lock:
            self._line = line
            if self.why is not None:
                self._shut()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take the line of a connection that is made for this exchange: httpcore's `trace`."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self.take_stream(info["return_value"])

    def hang_up_after(self, seconds: float | None, why: str) -> None:
        """Hang up in so many seconds, unless it is over by then; None is never."""
        if seconds is None:
            return
        self._timer = threading.Timer(seconds, self.hang_up, (why,))
        self._timer.daemon = True
        self._timer.name = "deadline"
        self._timer.start()

    def end(self) -> None:
        """Say that the exchange is over: its line may be another's soon."""
        with self._lock:
            self._is_over = True
            self._line = None
        if self._timer is not None:
            self._timer.cancel()

    def _shut(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)  # wakes the reader, as closing would not
