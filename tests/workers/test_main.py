"""The node's commands as an operator meets them."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT, wait_for

COMMANDS = ["supervise", "report"]


def make_env(folder: Path, **changes: str) -> dict[str, str]:
    settings = {
        "ATHANOR_STUDIO_URL": "http://127.0.0.1:9",
        "ATHANOR_NODE_TOKEN": "node_test",
        "ATHANOR_BROKER_URL": "redis://127.0.0.1:9/0",
        "ATHANOR_NODE_NAME": "test",
        "ATHANOR_NODE_DIR": str(folder / "node"),
    }
    return os.environ | settings | changes


def start(command: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "workers", command],
        cwd=ROOT,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_held(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_setting_ends_the_command_with_one_sentence(command: str, tmp_path: Path) -> None:
    process = start(command, make_env(tmp_path, ATHANOR_NODE_NAME="no spaces"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.startswith("ATHANOR_NODE_NAME is 'no spaces': write ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_process_on_the_same_folder_is_refused_and_the_first_ends_cleanly(
    command: str, tmp_path: Path
) -> None:
    first = start(command, make_env(tmp_path))
    lock = tmp_path / "node" / f"{command}.lock"
    wait_for("the first one to hold it", lambda: is_held(lock))
    second = start(command, make_env(tmp_path))
    _, said = second.communicate(timeout=60)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 2)
    assert "stop it, or change ATHANOR_NODE_DIR" in said
