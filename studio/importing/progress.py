"""How far an import is, said once a second, and the sign of life of who runs it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import DatabaseError, connection
from django.utils import timezone

from studio.importing.models import RUNNING, Import

log = structlog.get_logger(__name__)
SAID_EVERY_S = 1.0
BEATS_EVERY_S = 10.0


class Cancelled(Exception):
    """Its owner no longer wants it."""


class Lost(Exception):
    """It was given up as dead and is somebody else's by now."""


class Progress:
    """Counts what an import has done, and hears at each word whether it is to end."""

    def __init__(self, item: Import) -> None:
        """Begin at nothing."""
        self._item, self._said_at = item, 0.0
        self._bytes, self._files, self._current = 0, 0, ""

    def begin(self, state: str, *, num_files: int, num_bytes: int) -> None:
        """Enter a state, in which the counts begin anew.

        Raises:
            Cancelled, Lost: it is to end.
        """
        self._bytes, self._files, self._current = 0, 0, ""
        self.say(state=state, files_total=num_files, bytes_total=num_bytes)

    def advance(self, path: str, num_bytes: int) -> None:
        """Count bytes of a file; files come one after the other.

        Raises:
            Cancelled, Lost: it is to end.
        """
        if path != self._current:
            self._files += 1 if self._current else 0
            self._current = path
        self._bytes += num_bytes
        if time.monotonic() - self._said_at >= SAID_EVERY_S:
            self.say()

    def finish(self, num_files: int) -> None:
        """Say that all files of this state are through.

        Raises:
            Cancelled, Lost: it is to end.
        """
        self._files, self._current = num_files, ""
        self.say()

    def say(self, **more: object) -> None:
        """Write down how far it is.

        Raises:
            Cancelled, Lost: it is to end.
        """
        self._said_at = time.monotonic()
        mine = Import.objects.filter(
            pk=self._item.pk, attempt=self._item.attempt, state__in=RUNNING
        )
        told = {
            "bytes_done": max(0, self._bytes),
            "files_done": self._files,
            "current_file": self._current,
            "beat_at": timezone.now(),
        }
        if not mine.filter(is_cancel_wished=False).update(**told, **more):
            raise Cancelled if mine.exists() else Lost


@contextmanager
def keep_beating(item: Import) -> Iterator[None]:
    """Say that the runner lives, even while one long step says nothing."""
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(BEATS_EVERY_S):
            try:
                mine = Import.objects.filter(pk=item.pk, attempt=item.attempt)
                mine.update(beat_at=timezone.now())
            except DatabaseError:
                log.warning("importing.beat_missed", import_id=str(item.pk))
            finally:
                connection.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
