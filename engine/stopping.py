"""How a run hears that it shall stop: SIGTERM becomes `StopRequested` at the next safe place.

Most code may be left anywhere, since nothing it does lasts. What must not be left half done, such
as an optimizer step or a checkpoint, runs shielded.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import StopRequested


class StopGate:
    """Raises `StopRequested` in the main thread: at once, or at the end of a shielded part."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._depth = 0

    @property
    def is_asked(self) -> bool:
        """Say whether a stop waits for the end of a shielded part."""
        return self._is_wanted

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda signum, frame: self.ask())

    def ask(self) -> None:
        """Ask for the stop. Asked again it changes nothing."""
        if self._is_wanted:
            return
        self._is_wanted = True
        if self._depth == 0:
            raise StopRequested

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold the stop back until the block is done."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._is_wanted and self._depth == 0:
            raise StopRequested
