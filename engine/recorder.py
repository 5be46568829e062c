"""The recorder: the small outer process of a run, and the only writer of its events.jsonl.

It starts the engine, keeps every byte the engine writes, ends it when asked or when it takes too
much memory, and writes the final status. It loads no model library: it starts at once and is small.
"""

import fcntl
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.events import EVENT
from engine.journal import (
    Journal,
    JournalFull,
    LogCutter,
    RunLock,
    Watch,
    close_run,
    encode_event,
)
from engine.processes import (
    MemoryWatch,
    OomCounter,
    is_alive,
    kill_group,
    read_start_ticks,
    start_child,
)
from engine.runtime import EVENT_FD_NAME, copy_environment
from engine.spec_file import explain_problems
from engine.specs import Placement
from engine.status import FINAL, Reason, Status
from engine.verdict import Ending, final_status, judge

RECORDER_NAME = "recorder.json"
_READ_BYTES = 1 << 18
_LINES_EVERY_S = (
    0.02  # whole lines wait this long for company: at 20k lines/s an event each is too many
)
_PARTIAL_EVERY_S = 0.1
_MEMORY_EVERY_S = 0.25
_STOP_GRACE_S = 4.0  # a stop is final within 5 s
_AFTER_DRAIN_S = 2.0  # a server's own way down, behind its requests' time
_DRAIN_S = 1.0  # for output that a process outside the group still holds open
_FULL_DISK_S = 30.0
_EVENT_LINE_BYTES = 1 << 20
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def record_run(
    run_dir: Path, command: Sequence[str] | None = None, watch: Watch | None = None
) -> Status:
    """Run the engine on `run_dir` to its end and return the final status.

    `command` replaces the engine. `watch` sees every event as it is written.

    Raises:
        RunBusy: the run was started before, or is being recorded.
        JournalFull: the disk stays full, so that not even the end can be written.
    """
    lock = RunLock(run_dir)
    try:
        journal = Journal(run_dir, watch)
        journal.append([{"type": "status", "status": Status.RUNNING.value}])
        try:
            recorder = _Recorder(run_dir, journal, *_read_limits(run_dir))
            final = recorder.run(command or [sys.executable, "-m", "engine", "work", str(run_dir)])
        except ValidationError as error:
            where = explain_problems(error)[0]
            final = _fail(Reason.LAUNCH_FAILED, f"placement.json is wrong: {where}")
        except OSError as error:
            final = _fail(Reason.LAUNCH_FAILED, f"The engine could not be started: {error}.")
        except JournalFull as error:
            final = _fail(Reason.DISK_FULL, f"The node's disk is full: {error}.")
        _finish(journal, final)
        return Status(final["status"])
    finally:
        lock.release()


def close_abandoned(run_dir: Path, reason: Reason, message: str) -> bool:
    """End a run whose recorder is gone; False where it had its final status already.

    Raises:
        RunBusy: its recorder lives.
    """
    with suppress(FileNotFoundError, ValueError, KeyError):
        left = json.loads((run_dir / RECORDER_NAME).read_text(encoding="utf-8"))
        if is_alive(left["engine_pid"], left["engine_start_ticks"]) and not is_alive(
            left["pid"], left["start_ticks"]
        ):
            kill_group(left["engine_pid"])
    status = {"status": final_status(reason).value, "reason": reason.value, "message": message}
    return close_run(run_dir, status)


class _Recorder:
    def __init__(
        self, run_dir: Path, journal: Journal, limit_bytes: int | None, stop_grace_s: float
    ) -> None:
        self._stop_grace_s = stop_grace_s
        self._run_dir = run_dir
        self._journal = journal
        self._limit_bytes = limit_bytes
        self._cutter = LogCutter()
        self._event_bytes = bytearray()
        self._wish: dict[str, Any] | None = None
        self._stop: dict[str, Any] | None = None
        self._num_stop_signals = 0
        self._kill_at = float("inf")
        self._peak_bytes: int | None = None
        self._lines_at = self._partial_at = self._memory_at = 0.0
        self._selector = selectors.DefaultSelector()

    def run(self, command: Sequence[str]) -> dict[str, Any]:
        oom = OomCounter()
        wake_fd = self._catch_signals()
        log_fd, log_end = os.pipe()
        event_fd, event_end = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(log_fd, fcntl.F_SETPIPE_SZ, 1 << 20)
        environment = copy_environment() | {EVENT_FD_NAME: str(event_end)}
        child = start_child(command, log_fd=log_end, event_fd=event_end, environment=environment)
        os.close(log_end)
        os.close(event_end)
        try:
            self._watch_fd(wake_fd, lambda fd: os.read(fd, 512))
            self._watch_fd(log_fd, self._read_log)
            self._watch_fd(event_fd, self._read_events)
            self._watch_fd(os.pidfd_open(child.pid), lambda fd: b"")
            _write_recorder_file(self._run_dir, child.pid)
            exit_code = self._follow(child)
            self._drain({log_fd, event_fd})
        finally:
            kill_group(child.pid)
            child.wait()
        ending = Ending(
            exit_code=exit_code,
            wish=self._wish,
            stop=self._stop,
            peak_bytes=self._peak_bytes,
            limit_bytes=self._limit_bytes,
            kernel_killed_for_memory=oom.has_risen(),
        )
        return judge(ending)

    def _catch_signals(self) -> int:
        read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop_signal)
        return read_fd

    def _on_stop_signal(self, number: int, frame: object) -> None:
        self._num_stop_signals += 1

    def _watch_fd(self, fd: int, read: Any) -> None:
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, read)

    def _follow(self, child: subprocess.Popen[bytes]) -> int:
        memory = MemoryWatch(child.pid)
        while True:
            exit_code = child.poll()
            if exit_code is not None:
                kill_group(child.pid)  # what it leaves behind in its group
                return exit_code
            self._read_ready(self._next_timeout())
            now = time.monotonic()
            self._write_log(now)
            self._guard_memory(memory, child.pid, now)
            self._heed_stop(child, now)

    def _next_timeout(self) -> float:
        now = time.monotonic()
        due = min(self._kill_at, self._memory_at if self._limit_bytes else float("inf"))
        if self._cutter:
            due = min(due, max(self._lines_at, now + 0.001))
        return max(0.0, min(due - now, 5.0))

    def _read_ready(self, timeout_s: float) -> bool:
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            try:
                data = key.data(key.fd)
            except BlockingIOError:
                continue
            if not data:
                self._selector.unregister(key.fd)
                os.close(key.fd)
        return bool(ready)

    def _read_log(self, fd: int) -> bytes:
        data = os.read(fd, _READ_BYTES)
        if not self._cutter:
            self._partial_at = time.monotonic() + _PARTIAL_EVERY_S
        self._cutter.feed(data)
        if len(self._cutter) >= _READ_BYTES:
            self._journal.append_log(self._cutter.take_lines())
        return data

    def _read_events(self, fd: int) -> bytes:
        data = os.read(fd, _READ_BYTES)
        self._event_bytes += data
        *lines, rest = self._event_bytes.split(b"\n")
        if len(rest) > _EVENT_LINE_BYTES or (not data and rest):
            lines, rest = [*lines, rest], bytearray()
        self._event_bytes = bytearray(rest)
        for line in filter(None, lines):
            self._take_event(bytes(line))
        return data

    def _take_event(self, line: bytes) -> None:
        try:
            event = _parse_event(line)
        except (ValueError, RecursionError):
            self._cutter.feed(line + b"\n")  # no event, but nothing is lost
            return
        if event["type"] != "status":
            self._journal.append_log(self._cutter.take_lines())  # keep the order of writing
            self._journal.append([event])
        elif Status(event["status"]) in FINAL:
            self._wish = event

    def _write_log(self, now: float) -> None:
        if not self._cutter or now < self._lines_at:
            return
        pieces = self._cutter.take_lines()
        if pieces:
            self._partial_at = now + _PARTIAL_EVERY_S
        elif now >= self._partial_at:
            pieces = self._cutter.take_all(final=False) or self._cutter.take_all(final=True)
            self._partial_at = now + _PARTIAL_EVERY_S
        self._lines_at = now + _LINES_EVERY_S
        self._journal.append_log(pieces)

    def _guard_memory(self, memory: MemoryWatch, pid: int, now: float) -> None:
        if self._limit_bytes is None or now < self._memory_at:
            return
        self._memory_at = now + _MEMORY_EVERY_S
        used = memory.read_bytes()
        if used > self._limit_bytes and self._peak_bytes is None:
            self._peak_bytes = used
            kill_group(pid)

    def _heed_stop(self, child: subprocess.Popen[bytes], now: float) -> None:
        if self._num_stop_signals and self._stop is None:
            self._stop = _read_stop(self._run_dir)
            self._kill_at = now + self._stop_grace_s
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        if now >= self._kill_at or self._num_stop_signals > 2:
            self._kill_at = float("inf")
            kill_group(child.pid)

    def _drain(self, fds: set[int]) -> None:
        """Read what is left in the pipes; a process outside the group may hold them open."""
        deadline = time.monotonic() + _DRAIN_S
        while fds & set(self._selector.get_map()) and time.monotonic() < deadline:
            self._read_ready(0.05)
            self._journal.append_log(self._cutter.take_lines())
        if self._event_bytes:
            self._take_event(bytes(self._event_bytes))
        self._journal.append_log(self._cutter.take_all(final=True))


def _parse_event(line: bytes) -> dict[str, Any]:
    event = json.loads(line, parse_constant=_refuse)
    if not isinstance(event, dict) or event.get("type") == "log":
        raise ValueError("no structured event")
    EVENT.validate_python({**event, "seq": 0, "time": 0.0})
    body = {name: value for name, value in event.items() if name not in ("seq", "time")}
    if _NUL.search(encode_event(body)):
        raise ValueError("NUL, which PostgreSQL takes in no text")
    return body


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_limits(run_dir: Path) -> tuple[int | None, float]:
    """Return the most memory, and the seconds between a stop and the end of patience."""
    path = run_dir / "placement.json"
    if not path.exists():
        return None, _STOP_GRACE_S
    placement = Placement.model_validate_json(path.read_bytes())
    return placement.memory_bytes, max(_STOP_GRACE_S, placement.grace_s + _AFTER_DRAIN_S)


def _read_stop(run_dir: Path) -> dict[str, Any]:
    default = {"reason": Reason.STOPPED_BY_OWNER.value, "message": ""}
    try:
        stop = json.loads((run_dir / "stop.json").read_text(encoding="utf-8"))
        return default | {
            "reason": Reason(stop["reason"]).value,
            "message": stop.get("message", ""),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return default


def _write_recorder_file(run_dir: Path, engine_pid: int) -> None:
    pid = os.getpid()
    body = {
        "pid": pid,
        "start_ticks": read_start_ticks(pid),
        "engine_pid": engine_pid,
        "engine_start_ticks": read_start_ticks(engine_pid),
    }
    temporary = run_dir / f".{RECORDER_NAME}.tmp"
    temporary.write_text(json.dumps(body), encoding="utf-8")
    temporary.replace(run_dir / RECORDER_NAME)


def _finish(journal: Journal, final: dict[str, Any]) -> None:
    """Write the end; where the disk is full, wait for room, since the run is over in any case."""
    deadline = time.monotonic() + _FULL_DISK_S
    while True:
        try:
            journal.finish(final)
        except JournalFull:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _fail(reason: Reason, message: str) -> dict[str, Any]:
    return {"status": Status.FAILED.value, "reason": reason.value, "message": message}
