"""events.jsonl, the one durable record of a run: written by its recorder, closed by `close_run`.

Not a parser for readers: they validate with `engine.events.EVENTS`.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.events import LOG_CHUNK_BYTES, Log, encode_log
from engine.status import FINAL

EVENTS_NAME = "events.jsonl"
LOCK_NAME = "lock"
_FINAL_VALUES = frozenset(status.value for status in FINAL)

Watch = Callable[[dict[str, Any]], None]


class RunBusy(Exception):
    """Another process holds the run directory, or the run was started before."""


class JournalFull(Exception):
    """The disk takes no more events; what was written before is whole."""


class RunLock:
    """The exclusive lock on a run directory; it lives as long as the process that took it."""

    def __init__(self, run_dir: Path) -> None:
        self._fd = os.open(run_dir / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise RunBusy(f"{run_dir} is being recorded by another process") from error

    def release(self) -> None:
        """Let go of the directory."""
        os.close(self._fd)


class Journal:
    """Appends events: gives each its number and time, and hashes the log as it passes."""

    def __init__(self, run_dir: Path, watch: Watch | None = None) -> None:
        try:
            self._fd = os.open(
                run_dir / EVENTS_NAME,
                os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC,
                0o644,
            )
        except FileExistsError as error:
            raise RunBusy(f"{run_dir} was started before; a run starts at most once") from error
        self._watch = watch
        self._next_seq = 0
        self._size = 0
        self._hash = hashlib.sha256()
        self._log_bytes = 0

    def append(self, events: list[dict[str, Any]]) -> None:
        """Write events that have no `seq` and `time` yet, all or none.

        Raises:
            JournalFull: the disk is full.
        """
        now = time.time()
        stamped = [
            {"seq": seq, "time": now} | event for seq, event in enumerate(events, self._next_seq)
        ]
        self._write(b"".join(map(encode_event, stamped)))
        self._next_seq += len(stamped)
        if self._watch is not None:
            for event in stamped:
                self._watch(event)

    def append_log(self, pieces: list[bytes]) -> None:
        """Write pieces of log, each at most `LOG_CHUNK_BYTES` long."""
        if not pieces:
            return
        self.append([{"type": "log"} | encode_log(piece) for piece in pieces])
        for piece in pieces:
            self._hash.update(piece)
            self._log_bytes += len(piece)

    def finish(self, status: dict[str, Any]) -> None:
        """Write the final status with the log's size and hash, and make the file durable."""
        digest = {"log_bytes": self._log_bytes, "log_sha256": self._hash.hexdigest()}
        self.append([{"type": "status"} | status | digest])
        os.fsync(self._fd)
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise JournalFull(f"events.jsonl cannot grow: {error.strerror}") from error
        self._size += len(data)


class LogCutter:
    """Cuts a byte stream into log pieces: lines together, characters whole where they can be."""

    def __init__(self) -> None:
        self._held = bytearray()

    def __len__(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        self._held += data

    def take_lines(self) -> list[bytes]:
        """Give out the whole lines, and of a line without end the part over one piece."""
        end = self._held.rfind(b"\n") + 1
        if len(self._held) - end >= LOG_CHUNK_BYTES:
            end = len(self._held) - _cut_tail(self._held)
        return self._take(end)

    def take_all(self, *, final: bool) -> list[bytes]:
        """Give out everything; unless `final`, a character that has only begun stays behind."""
        tail = 0 if final else _cut_tail(self._held)
        return self._take(len(self._held) - tail)

    def _take(self, end: int) -> list[bytes]:
        pieces = []
        start = 0
        while start < end:
            stop = min(end, start + LOG_CHUNK_BYTES)
            if stop < end:
                newline = self._held.rfind(b"\n", start, stop) + 1
                stop = newline or stop - _cut_tail(self._held[start:stop])
            pieces.append(bytes(self._held[start:stop]))
            start = stop
        del self._held[:end]
        return pieces


def encode_event(event: dict[str, Any]) -> bytes:
    """Return an event as a line of events.jsonl.

    Raises:
        ValueError: it holds a number that is not finite, or half a surrogate pair.
    """
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def close_run(run_dir: Path, status: dict[str, Any]) -> bool:
    """Give a run whose recorder is gone its final status; False where it has one already.

    A torn last line is cut off. Where there is no events.jsonl it is made, so that no recorder can
    start the run later.

    Raises:
        RunBusy: its recorder lives.
    """
    lock = RunLock(run_dir)
    try:
        path = run_dir / EVENTS_NAME
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "r+b") as file:
            return _close_file(file, status)
    finally:
        lock.release()


def _close_file(file: Any, status: dict[str, Any]) -> bool:
    end = num_events = log_bytes = 0
    digest = hashlib.sha256()
    last: dict[str, Any] = {}
    for line, last in _whole_events(file):
        end += len(line)
        num_events += 1
        if last["type"] == "log":
            piece = _read_log(last)
            digest.update(piece)
            log_bytes += len(piece)
    file.truncate(end)
    file.seek(end)
    is_new = not (last.get("type") == "status" and last.get("status") in _FINAL_VALUES)
    if is_new:
        stamp = {"seq": num_events, "time": time.time(), "type": "status"}
        closing = {"log_bytes": log_bytes, "log_sha256": digest.hexdigest()}
        file.write(encode_event(stamp | status | closing))
    file.flush()
    os.fsync(file.fileno())
    return is_new


def _whole_events(file: Any) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for seq, line in enumerate(file):
        try:
            event = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n") or not isinstance(event, dict) or event.get("seq") != seq:
            return
        yield line, event


def _read_log(event: dict[str, Any]) -> bytes:
    return Log.model_validate(event).to_bytes()


def _cut_tail(data: bytes | bytearray) -> int:
    """Return how many bytes at the end are the beginning of a UTF-8 character that is not whole."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if need > back else 0
        if byte < 0x80:
            return 0
    return 0
