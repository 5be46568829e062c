"""What every keeper of quotas does."""

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path


class QuotaBackend(ABC):
    """Keeps each person's folder within a number of bytes."""

    name: str
    is_enforced = True
    """Whether a write over the quota fails in the file system, and so through a mount as well."""
    reasons: tuple[str, ...] = ()
    """Why it is not, where it is not: a sentence for each that could."""

    @classmethod
    @abstractmethod
    def why_not(cls, folder: Path) -> str | None:
        """Say in a sentence why this disk cannot have it; None when it can."""

    @abstractmethod
    def make_folder(self, path: Path) -> None:
        """Make a person's folder so that it can have a limit."""

    @abstractmethod
    def set_limit(self, path: Path, num_bytes: int) -> None:
        """Set the limit of a folder made here; what is over it already stays."""

    @abstractmethod
    def get_used_bytes(self, path: Path) -> int | None:
        """Return what a folder holds; None where the file system does not count."""


def run(*command: str) -> str:
    """Run a tool of the file system and return what it printed.

    Raises:
        OSError: it failed; what it said is in it.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} does not end") from error
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[:300]}")
    return done.stdout


def find_mount(folder: Path) -> tuple[str, str, str]:
    """Return the mount point, type and options of the file system that holds a folder."""
    best = ("/", "", "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        point = words[4].encode().decode("unicode_escape")
        after = words[words.index("-") + 1 :]
        if folder.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, after[0], f"{words[5]},{after[2]}")
    return best
