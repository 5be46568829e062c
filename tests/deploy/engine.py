"""A Docker engine of the tests' own: private socket, private data, one at a time.

Its images stay in the user's cache, so that the next run builds only what changed.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.supplies import cache_dir

_START_S = 60.0
_ADDRESSES = "base=10.213.0.0/16,size=24"
_KEPT: dict[Path, Callable[[], None]] = {}


@dataclass
class DockerEngine:
    """An engine, and how to talk to it."""

    socket: Path
    folder: Path
    command: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start the daemon and wait until it answers."""
        for tries_left in (2, 1, 0):  # it gives its containerd ten seconds, however busy we are
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen([*self.command, *options], stdout=log, stderr=log)
            try:
                _await(self.process, self)
                return
            except AssertionError as exc:
                self.end()
                if not tries_left:
                    raise
                if "reservePools" in str(exc):
                    self._forget_networks()

    def _forget_networks(self) -> None:
        """Drop the engine's notes on its networks.

        One that ends while it removes a network writes it down without its addresses, and then
        panics over that note at every start (docs/operator/machines.md).
        """
        data = Path(self.command[self.command.index("--data-root") + 1])
        for notes in data.glob("**/network/files/local-kv.db"):
            notes.unlink()

    def end(self, how: int = signal.SIGTERM) -> None:
        """End the daemon; what becomes of its containers depends on how it was started."""
        assert self.process is not None
        self.process.send_signal(how)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.folder / "client"),
            "DOCKER_BUILDKIT": "0",
        }

    def run(self, *command: str, **options) -> subprocess.CompletedProcess[str]:
        """Run a command against the engine; its output is in the error when it fails."""
        done = subprocess.run(
            command,
            env={**self.env, **options.pop("env", {})},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-6000:]}"
        return done

    def import_tree(self, tar: Path, tag: str) -> None:
        """Make an image of a tar, once; every layer above it is then found again."""
        own_tag = f"{tag}:{tar.stem.rpartition('-')[2]}"
        known = subprocess.run(
            ["docker", "image", "inspect", own_tag], env=self.env, capture_output=True, check=False
        )
        if known.returncode:
            self.run("docker", "import", str(tar), own_tag)
        self.run("docker", "tag", own_tag, tag)

    def build(self, dockerfile: Path, context: Path, tag: str, **arguments: str) -> None:
        """Build an image without a network."""
        pairs = [word for pair in arguments.items() for word in ("--build-arg", "=".join(pair))]
        self.run(
            *("docker", "build", "--network", "none", "--force-rm", "-t", tag),
            *pairs,
            *("-f", str(dockerfile), str(context)),
        )


def why_not() -> str | None:
    """Say why no engine can be started here, None when it can."""
    if os.getuid():
        return "starting a Docker engine needs root"
    lacking = [name for name in ("dockerd", "docker", "debootstrap") if not shutil.which(name)]
    if not find_compose():
        lacking.append("docker compose")
    return f"{', '.join(lacking)} is not installed: run `make provision`" if lacking else None


def find_compose() -> list[str]:
    """Return the compose command: the client's plugin, or the older program."""
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if plugin.returncode == 0:
            return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


def keep_until_wanted(data: Path, end: Callable[[], None]) -> None:
    """Have an engine that nobody uses now ended as soon as another of the same data is wanted."""
    _KEPT[data] = end


@contextmanager
def run_engine(*options: str, data: Path | None = None) -> Iterator[DockerEngine]:
    """Start an engine with options of `dockerd`, and end it with every container it runs.

    `data` is where its images stay: with user namespaces, a folder that others may pass through.
    """
    folder = Path(tempfile.mkdtemp(prefix="athanor-docker-"))
    data = data or cache_dir() / "docker"
    data.parent.mkdir(parents=True, exist_ok=True)
    if end := _KEPT.pop(data, None):
        end()
    engine = DockerEngine(socket=folder / "docker.sock", folder=folder)
    engine.command = ["dockerd", "--host", f"unix://{engine.socket}", "--data-root", str(data)]
    engine.command += ["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
    engine.command += ["--bridge", "none", "--default-address-pool", _ADDRESSES, *options]
    with data.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _run(engine)


def _run(engine: DockerEngine) -> Iterator[DockerEngine]:
    try:
        engine.start()
        _remove_leftovers(engine)
        yield engine
        engine.run("docker", "image", "prune", "--force")
    finally:
        engine.end()
        shutil.rmtree(engine.folder, ignore_errors=True)


def _remove_leftovers(engine: DockerEngine) -> None:
    """Remove what an engine that was killed left in its data; what restarts by itself is back."""
    if left := engine.run("docker", "ps", "--all", "--quiet").stdout.split():
        engine.run("docker", "rm", "--force", "--volumes", *left)
    engine.run("docker", "network", "prune", "--force")
    if volumes := engine.run("docker", "volume", "ls", "--quiet").stdout.split():
        engine.run("docker", "volume", "rm", *volumes)


def _await(process: subprocess.Popen[bytes], engine: DockerEngine) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        answer = subprocess.run(["docker", "info"], env=engine.env, capture_output=True)
        if answer.returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(f"dockerd: {(engine.folder / 'log').read_text()[-3000:]}")
