"""Trainings that are killed at some instant, and go on: a program that forks one for each.

`python -m tests.engine.train.kill_case FOLDER`; what went on is in FOLDER/found.json. Libraries are
loaded once: a fork is a training in a moment, and its death is nobody else's.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from engine.train.checkpoint import list_checkpoints
from tests.engine.train.cases import run_case

NUM_KILLS = 6
KINDS = {
    "lora": {"stage": "sft", "method": "lora", "learning_rate": 1e-2},
    "full": {"stage": "dpo", "method": "full", "learning_rate": 1e-3},
}
LAST = 8
EACH_STEP = {"save_every_steps": 1, "keep_checkpoints": 2, "max_steps": LAST}


def fork(case: dict[str, Any], run_dir: Path) -> int:
    """Begin a training in a process of its own, and return its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        found = run_case(case, run_dir)
        (run_dir / "found.json").write_text(json.dumps(found))
        os._exit(0)
    finally:
        os._exit(1)


def finish(case: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Train to the end, and return what is found."""
    _, status = os.waitpid(fork(case, run_dir), 0)
    assert status == 0, f"{run_dir.name} ended with {status}"
    found: dict[str, Any] = json.loads((run_dir / "found.json").read_text())
    return found


def wait_for_step(step: int, run_dir: Path, pid: int) -> None:
    """Come back when a step's checkpoint has been written, or the process is gone."""
    while not any(int(path.name[5:]) >= step for path in list_checkpoints(run_dir)):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.001)


def main(folder: Path) -> None:
    """Train each kind unbroken, then kill it within a step's time behind one that is drawn."""
    torch.set_num_threads(1)
    draw = random.Random(64)
    told: list[dict[str, Any]] = []
    for name, kind in KINDS.items():
        case = kind | EACH_STEP
        begun = time.monotonic()
        whole = finish(case, folder / name / "whole")
        took_s = time.monotonic() - begun
        for number in range(NUM_KILLS // len(KINDS)):
            run_dir = folder / name / f"killed-{number}"
            pid = fork(case, run_dir)
            wait_for_step(draw.randrange(1, LAST - 1), run_dir, pid)
            time.sleep(draw.uniform(0, took_s / LAST))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            kept = [str(path) for path in list_checkpoints(run_dir)]
            rest = finish(case | ({"resume_from": kept[-1]} if kept else {}), run_dir)
            told.append({"whole": whole, "rest": rest, "kept": kept, "status": status})
    (folder / "found.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
