"""What an engine in a container tells: events, which go on as they are, but for its last word.

How a run ends is said outside, where it is known what became of the container.
"""

import json

from pydantic import ValidationError

from engine.events import EVENT, StatusEvent
from engine.status import FINAL

_MOST_LINE = 1 << 20  # the recorder's own


class WordReader:
    """Cuts what comes into lines, and keeps the last word back."""

    def __init__(self) -> None:
        self._held = b""
        self.last: StatusEvent | None = None
        """How the engine itself says that it ended."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; return the lines that are to be handed on."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _MOST_LINE:
            lines, self._held = [*lines, self._held], b""
        return [line for line in lines if line and not self._keep(line)]

    def end(self) -> list[bytes]:
        """Return what stood without an end."""
        return self.feed(b"\n")

    def _keep(self, line: bytes) -> bool:
        if b'"status"' not in line:
            return False
        try:  # on its way it has neither number nor time: the recorder gives them
            event = EVENT.validate_python({**json.loads(line), "seq": 0, "time": 0.0})
        except (ValidationError, ValueError, TypeError, RecursionError):
            return False
        if isinstance(event, StatusEvent) and event.status in FINAL:
            self.last = event
        return isinstance(event, StatusEvent)
