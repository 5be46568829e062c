"""A whole studio for tests: the real parent process, as `make up` starts it, in fresh data."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 240.0


def free_port() -> int:
    """Return a port nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Callable[[], Any], *, timeout_s: float = 60.0) -> Any:
    """Poll until `check` answers something true and return it; fail with `what` when time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if answer := check():
                return answer
        except (httpx.TransportError, OSError, json.JSONDecodeError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}")


@dataclass
class LiveStudio:
    """A running studio. `kill` ends one of its processes; the parent starts it again."""

    data_dir: Path
    port: int
    parent: subprocess.Popen[bytes]
    env: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address of the studio."""
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str) -> str:
        """Run a management command against this studio's data and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "studio.cli", "manage", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"manage {arguments}: {done.stderr[-2000:]}"
        return done.stdout.strip()

    def make_token(self, username: str, *, role: str = "member") -> str:
        """Return an API token of this person, who is created where new."""
        if username not in self.tokens:
            extra = [] if role == "member" else ["--role", role, "--admin"]
            self.tokens[username] = self.manage("token", username, *extra).splitlines()[-1]
        return self.tokens[username]

    def signin_link(self, username: str, *, role: str = "member") -> str:
        """Return a one-time sign-in link."""
        lines = self.manage("signin_link", username, "--create", "--role", role).splitlines()
        return next(line for line in reversed(lines) if line.startswith("http"))

    def client(self, username: str, *, role: str = "member") -> httpx.Client:
        """Return an HTTP client that speaks for this person."""
        headers = {"Authorization": f"Bearer {self.make_token(username, role=role)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def grant(self, username: str, mpoints: int) -> None:
        """Give points to a person."""
        self.make_token(username)
        answer = self.client("root", role="administrator").post(
            "/api/points/grants/",
            json={"username": username, "mpoints": mpoints, "note": "for the test"},
            headers={"Idempotency-Key": secrets.token_hex(8)},
        )
        assert answer.status_code == 201, answer.text

    def pids(self) -> dict[str, int]:
        """Return the process ids of the parent's children by name."""
        return json.loads((self.data_dir / "run" / "pids.json").read_text())

    def kill(self, name: str) -> int:
        """SIGKILL one child and return the pid it had."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, name: str, old_pid: int, *, timeout_s: float = 30.0) -> int:
        """Wait until the parent has started the child anew and return its pid."""

        def fresh() -> int | None:
            pid = self.pids().get(name)
            return pid if pid and pid != old_pid else None

        return int(wait_for(f"{name} to be started again", fresh, timeout_s=timeout_s))

    def is_healthy(self) -> bool:
        """Say whether every part answers."""
        return httpx.get(f"{self.url}/healthz", timeout=10).status_code == 200

    def stop(self) -> None:
        """Stop the studio and whatever runs it left behind."""
        self.parent.send_signal(signal.SIGTERM)
        try:
            self.parent.wait(30)
        except subprocess.TimeoutExpired:
            self.parent.kill()
        subprocess.run(
            [sys.executable, "-m", "studio.cli", "down"],
            cwd=ROOT,
            env=self.env,
            timeout=60,
            check=False,
        )


@contextmanager
def run_studio(data_dir: Path, **extra_env: str) -> Iterator[LiveStudio]:
    """Start a studio in `data_dir`, wait until it is healthy, and stop it at the end."""
    port = free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STUDIO_", "DJANGO_"))}
    env |= {"ATHANOR_DATA": str(data_dir), "ATHANOR_PORT": str(port)}
    env |= {"STUDIO_SSH_PORT": str(free_port()), **extra_env}
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "parent.log").open("wb") as log:
        parent = subprocess.Popen(
            [sys.executable, "-m", "studio.cli", "up", "--verbose"],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    studio = LiveStudio(data_dir=data_dir, port=port, parent=parent, env=env)
    try:

        def ready() -> bool:
            assert parent.poll() is None, (data_dir / "parent.log").read_text()[-4000:]
            return studio.is_healthy()

        wait_for("the studio to be healthy", ready, timeout_s=START_TIMEOUT_S)
        yield studio
    finally:
        studio.stop()
