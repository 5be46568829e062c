"""A studio that listens, and the `athanor` command as a program of its own beside it."""

import os
import subprocess
import sys

import pytest

from studio.asgi import application
from tests.studio.asgi import make_token, run_app

# An image, points, and a node with an engine, as the machines' own tests have them.
from tests.studio.machines.conftest import image, memory_cache, node, rich  # noqa: F401


class Command:
    """`athanor("whoami")` runs the command in a home of its own."""

    def __init__(self, home, studio: str = "", token: str = "") -> None:
        self.home, self.studio, self.token = home, studio, token
        home.mkdir()

    def begin(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """Start it and go on; `ends` waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "clients.command", *words],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ".", "HOME": str(self.home)} | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], given: str = "") -> tuple[int, str, str]:
        out, err = process.communicate(given, timeout=60)
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def __call__(
        self, *words: str, given: str = "", fails: bool = False, code: int = 1, **env: str
    ) -> str:
        """Return what it says; of one that fails, what it says on standard error."""
        returned, out, err = self.end(self.begin(*words, **env), given)
        assert returned == (code if fails else 0), out + err
        return err if fails else out

    def sign_in(self) -> str:
        return self("login", self.studio, "--token", self.token)


@pytest.fixture
def studio(django_db_serialized_rollback, transactional_db, settings, tmp_path):
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.HUB_DIR = tmp_path / "hub"
    with run_app(application) as url:
        yield url


@pytest.fixture
def athanor(studio, alice, tmp_path) -> Command:
    return Command(tmp_path / "home", studio, make_token(alice))


@pytest.fixture
def lone(tmp_path) -> Command:
    """The command where there is no studio."""
    return Command(tmp_path / "home")
