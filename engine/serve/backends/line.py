"""How many requests wait for another server: its own line has no end, and callers see none of it.

Not a queue: whoever may wait is sent on at once. A request waits until its answer begins.
"""

import threading
from collections import Counter

from engine.serve.backend import QueueFull

_RETRY_AFTER_S = 1  # how fast the other side works nobody tells us


class WaitingLine:
    """Counts who waits, and lets no more in than may."""

    def __init__(self, most: int | None = None, most_of_tenant: int | None = None) -> None:
        """None is no bound."""
        self._most = most
        self._most_of_tenant = most_of_tenant
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()

    def enter(self, tenant: str) -> "Place":
        """Take a place.

        Raises:
            QueueFull: as many wait as may wait, of all or of this tenant.
        """
        with self._lock:
            if self._most is not None and self._waiting.total() >= self._most:
                raise QueueFull(self._most, _RETRY_AFTER_S)
            most = self._most_of_tenant
            if most is not None and self._waiting[tenant] >= most:
                raise QueueFull(most, _RETRY_AFTER_S)
            self._waiting[tenant] += 1
        return Place(self, tenant)

    def count(self) -> int:
        """Return how many wait."""
        with self._lock:
            return self._waiting.total()

    def leave(self, tenant: str) -> None:
        """Give a place back."""
        with self._lock:
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]


class Place:
    """One request's place in the line."""

    def __init__(self, line: WaitingLine, tenant: str) -> None:
        self._line = line
        self._tenant = tenant
        self._lock = threading.Lock()
        self._is_left = False

    def leave(self) -> None:
        """Wait no more; more than once does no harm."""
        with self._lock:
            if self._is_left:
                return
            self._is_left = True
        self._line.leave(self._tenant)
