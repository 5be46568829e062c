"""The processes of one training on one machine: the first is the run's own, and starts the others.

Under `torchrun`, on one machine or many, they are all there already and nothing is started.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engine.runtime import EVENT_FD_NAME, copy_environment, leave

_POLL_S = 0.2
_GRACE_S = 20.0
"""How long the first may take to say what went wrong in all of them."""


def is_first_rank() -> bool:
    """Say whether this process speaks for its training."""
    return os.environ.get("RANK", "0") == "0"


def count_ranks() -> int:
    """Return how many processes the training has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def get_local_rank() -> int:
    """Return this process's number on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def start_others(
    run_dir: Path, num_processes: int, num_threads: int, tell_fall: Callable[[str], None]
) -> None:
    """Start the other processes of a training and watch them; this one becomes the first.

    They are of this process's group, so whoever ends it ends them. When one falls and this one
    waits on for it, `tell_fall` gets a sentence and the process ends.
    """
    if num_processes == 1 or "WORLD_SIZE" in os.environ:
        return
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
    threading.Thread(target=_watch, args=(others, tell_fall), daemon=True).start()


def _watch(others: list[subprocess.Popen[bytes]], tell_fall: Callable[[str], None]) -> None:
    while True:
        ends = [process.poll() for process in others]
        if all(end == 0 for end in ends):
            return
        fallen = next((n for n, end in enumerate(ends, start=1) if end not in (None, 0)), None)
        if fallen is not None:
            time.sleep(_GRACE_S)
            tell_fall(f"Process {fallen} of the training ended with status {ends[fallen - 1]}.")
            leave(1)
        time.sleep(_POLL_S)
