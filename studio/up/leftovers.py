"""What an earlier parent left: parts that are still ending, and runs that go on by design."""

import json
import os
import signal
import time
from pathlib import Path

import psutil

from studio.up.places import Places

_ENDING_S = 10.0
_RUNS_STOP_S = 10.0


def end_old_parts(places: Places) -> None:
    """Wait for the parts of a killed parent to end, and end those that do not."""
    try:
        pids = json.loads(places.pids_file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return
    old = [part for pid in pids.values() if (part := _find_ours(pid, places))]
    _, alive = psutil.wait_procs(old, timeout=_ENDING_S)
    for part in alive:
        part.kill()
    psutil.wait_procs(alive, timeout=_ENDING_S)
    places.pids_file.unlink(missing_ok=True)


def _find_ours(pid: int, places: Places) -> psutil.Process | None:
    """A pid may have been given to a stranger since; the mark in its environment tells."""
    try:
        process = psutil.Process(pid)
        return process if process.environ().get("ATHANOR_HOUSE") == str(places.data_dir) else None
    except psutil.Error:
        return None


def list_live_runs(places: Places) -> list[tuple[Path, int]]:
    """Return folder and recorder pid of every run that goes on, model servers among them."""
    live = []
    for note in sorted(places.node_dir.glob("runs/*/recorder.json")):
        try:
            said = json.loads(note.read_text())
        except (OSError, json.JSONDecodeError):
            continue
        if _start_ticks(said["pid"]) == said["start_ticks"]:
            live.append((note.parent, said["pid"]))
    return live


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; with the pid it names one process for ever."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def stop_runs(places: Places) -> int:
    """Stop every live run as its owner would, and return how many there were."""
    runs = list_live_runs(places)
    for _, pid in runs:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _RUNS_STOP_S
    while list_live_runs(places) and time.monotonic() < deadline:
        time.sleep(0.1)
    for _, pid in list_live_runs(places):
        os.kill(pid, signal.SIGKILL)
    return len(runs)
