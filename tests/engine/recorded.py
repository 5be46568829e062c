"""Starts real recorders around small children, and reads what they recorded."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.events import EVENT, Event, Log, StatusEvent
from engine.specs import Placement

DEADLINE_S = 120.0
_HEADER = """
import json, os, signal, sys, time
fd = int(os.environ["ATHANOR_EVENT_FD"])
def emit(**event): os.write(fd, json.dumps(event).encode() + b"\\n")
"""


def start_recorder(
    run_dir: Path, code: str, *, memory_bytes: int | None = None
) -> subprocess.Popen:
    """Start the recorder on a child that runs `code`, which may call `emit(type=..., ...)`."""
    run_dir.mkdir(exist_ok=True)
    placement = Placement(run_dir=run_dir, memory_bytes=memory_bytes)
    (run_dir / "placement.json").write_text(placement.model_dump_json())
    script = run_dir / "child.py"
    script.write_text(_HEADER + code)
    command = [
        sys.executable,
        "-m",
        "engine",
        "run",
        str(run_dir),
        "--",
        sys.executable,
        str(script),
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)


def record(run_dir: Path, code: str, **options: Any) -> tuple[int, list[Event]]:
    """Record a child to its end; return the recorder's exit status and the events."""
    recorder = start_recorder(run_dir, code, **options)
    recorder.communicate(timeout=DEADLINE_S)
    return recorder.returncode, read_events(run_dir)


def read_events(run_dir: Path) -> list[Event]:
    """Read all events and check their numbers."""
    lines = (run_dir / "events.jsonl").read_bytes().splitlines()
    events = [EVENT.validate_python(json.loads(line)) for line in lines]
    assert [event.seq for event in events] == list(range(len(events)))
    return events


def join_log(events: list[Event]) -> bytes:
    """Return the bytes of the log, having checked the final event's count and hash of them."""
    log = b"".join(event.to_bytes() for event in events if isinstance(event, Log))
    final = get_final(events)
    assert final.log_bytes == len(log)
    assert final.log_sha256 == hashlib.sha256(log).hexdigest()
    return log


def get_final(events: list[Event]) -> StatusEvent:
    """Return the last event, which must be a status."""
    assert isinstance(events[-1], StatusEvent)
    return events[-1]


def wait_for(condition: Any) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def wait_for_log(run_dir: Path, word: bytes) -> None:
    """Wait until a word is in the recorded log."""
    path = run_dir / "events.jsonl"
    wait_for(lambda: path.exists() and word in path.read_bytes())


def is_running(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def read_pids(run_dir: Path) -> dict[str, int]:
    """Return what recorder.json says, once it is there."""
    path = run_dir / "recorder.json"
    wait_for(path.exists)
    return json.loads(path.read_text())


def close(run_dir: Path, reason: str = "node_lost") -> int:
    """Run `engine close` and return its exit status."""
    command = [sys.executable, "-m", "engine", "close", str(run_dir), "--reason", reason]
    return subprocess.run(command, check=False, capture_output=True, env=os.environ).returncode
