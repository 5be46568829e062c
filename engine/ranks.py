"""The processes of one run on one machine: the first is the run's own, and starts the others.

Under `torchrun`, on one machine or many, they are all there already and nothing is started.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engine.runtime import EVENT_FD_NAME, copy_environment, leave
from engine.status import Reason

_POLL_S = 0.2
_GRACE_S = 20.0
"""How long the first may take to say what went wrong in all of them."""
_LEAVE_S = 5.0
"""How long the others may take to leave after the first."""
_SEEN_S = 2.0
"""How long after a broken connection a process may still look alive."""

Tell = Callable[[Reason, str], object]


def is_first_rank() -> bool:
    """Say whether this process speaks for its run."""
    return os.environ.get("RANK", "0") == "0"


def count_ranks() -> int:
    """Return how many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def get_local_rank() -> int:
    """Return this process's number on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_elastic() -> bool:
    """Say whether torchrun started this process: when one falls it starts all of them anew."""
    return "TORCHELASTIC_RUN_ID" in os.environ


class Others:
    """The processes that this one started, watched until they end."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], tell: Tell) -> None:
        """Watch from a thread of its own: when one falls, `tell` why and end them all."""
        self._processes = processes
        self._tell = tell
        self._speaks = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def explain(self, error: Exception) -> tuple[Reason, str] | None:
        """Say whether an error of this process is but another's end, seen from here; and which.

        Waits for it a moment: a broken connection is seen before a dead process. None where all
        live on, or where the other most likely failed of the same.
        """
        if not self._speaks.acquire(blocking=False):
            time.sleep(_GRACE_S)  # the watching thread is about to end this process
        until = time.monotonic() + _SEEN_S
        while (fallen := self._find_fallen()) is None and time.monotonic() < until:
            time.sleep(_POLL_S / 4)
        if fallen is None or (fallen[1] > 0 and not isinstance(error, RuntimeError)):
            return None
        return _tell_end(*fallen)

    def end(self) -> None:
        """Let them end of themselves, as they do when this one has; then end who is left."""
        until = time.monotonic() + _LEAVE_S
        for process in self._processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        while any(process.poll() != 0 for process in self._processes):
            fallen = self._find_fallen()
            if fallen is None:
                time.sleep(_POLL_S)
                continue
            if fallen[1] > 0:  # by an error, which the first may have too and tell better
                time.sleep(_GRACE_S)
            if self._speaks.acquire(blocking=False):
                self._tell(*_tell_end(*fallen))
                for process in self._processes:
                    process.kill()
                leave(1)
            return

    def _find_fallen(self) -> tuple[int, int] | None:
        ends = [process.poll() for process in self._processes]
        fallen = [(rank, end) for rank, end in enumerate(ends, start=1) if end]
        # Who was ended by a signal is the cause of what others fail of.
        return min(fallen, key=lambda pair: pair[1] > 0, default=None)


def _tell_end(rank: int, end: int) -> tuple[Reason, str]:
    if end > 0:
        return (
            Reason.INTERNAL_ERROR,
            f"Process {rank} of the run ended with status {end}; the end of the log tells where.",
        )
    return (
        Reason.KILLED,
        f"Process {rank} of the run was ended by {signal.Signals(-end).name}, from outside "
        "or for want of memory: retry the run, or take a flavor with more memory.",
    )


def start_others(run_dir: Path, num_processes: int, num_threads: int, tell: Tell) -> Others | None:
    """Start the other processes of a run and watch them; this one becomes the first.

    They are of this process's group, so whoever ends it ends them. When one falls and this one
    waits on for it, `tell` gets a reason and a sentence, and all end. None where nothing is to be
    started.
    """
    if num_processes == 1 or "WORLD_SIZE" in os.environ:
        return None
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(num_processes),
        "LOCAL_WORLD_SIZE": str(num_processes),
        "OMP_NUM_THREADS": str(max(1, num_threads // num_processes)),
    }
    os.environ.update(common | {"RANK": "0", "LOCAL_RANK": "0"})
    inherited = {k: v for k, v in copy_environment().items() if k != EVENT_FD_NAME}
    others = [
        subprocess.Popen(
            [sys.executable, "-m", "engine", "work", str(run_dir)],
            env=inherited | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the first speaks for all; what goes wrong is on stderr
        )
        for rank in range(1, num_processes)
    ]
    return Others(others, tell)
