"""The folders of spare machines: containers that were made before anybody wanted them.

What such a container has at /root is a folder of its slot. The drive of whoever takes it is bound
over that folder on the node, and the kernel shows it in the container too: its mount is a slave.
"""

import shutil
import subprocess
from pathlib import Path

import structlog

from workers.machines.binds import bind, is_mounted, unbind
from workers.machines.walls import EngineFault

log = structlog.get_logger()

_TAKEN = "taken"


class Slots:
    """Those of one node. They are in memory: after the node's own start there are none."""

    def __init__(self, path: Path) -> None:
        """Take the folder they are in; it is made with the first."""
        self._path = path

    def root_of(self, slot: str) -> Path:
        """Return the folder that is /root."""
        return self._path / slot / "root"

    def run_of(self, slot: str) -> Path:
        """Return the folder that is /run/athanor."""
        return self._path / slot / "run"

    def lay_out(self, slot: str, *, owner: int) -> None:
        """Make the folders of a slot, where they are missing.

        Raises:
            EngineFault: what is mounted here cannot be passed on into containers.
        """
        self._path.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not is_mounted(self._path):
            _mount("--bind", str(self._path), str(self._path))
            _mount("--make-shared", str(self._path))
        (self._path / slot).mkdir(mode=0o711, exist_ok=True)
        for folder in (self.root_of(slot), self.run_of(slot)):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                shutil.chown(folder, owner, owner)

    def take(self, slot: str) -> None:
        """Remember that somebody's things come into it: it is never offered again."""
        (self._path / slot / _TAKEN).touch()

    def is_taken(self, slot: str) -> bool:
        """Say whether it has been somebody's, if only for a moment, or is not known at all."""
        folder = self._path / slot
        return not folder.is_dir() or (folder / _TAKEN).exists()

    def show_home(self, slot: str, home: Path, *, owner: int) -> None:
        """Show a drive at /root; where it is shown already, nothing is done.

        Raises:
            EngineFault: it cannot be.
        """
        self.lay_out(slot, owner=owner)
        self.take(slot)
        bind(home, self.root_of(slot))

    def close(self) -> None:
        """Leave nothing mounted where no slot is. Where one is, what comes into it later must find
        its way into a container that is there now.
        """
        if self._path.is_dir() and not any(self._path.iterdir()):
            unbind(self._path)

    def clear_all_but(self, kept: set[str]) -> None:
        """Let go of the slots whose containers are no more. What was shown there is not touched."""
        if not self._path.is_dir():
            return
        for folder in self._path.iterdir():
            if folder.name in kept:
                continue
            unbind(self.root_of(folder.name))
            try:
                _remove(folder)
            except OSError as error:
                log.warning("slot_left", slot=folder.name, error=str(error))


def _remove(folder: Path) -> None:
    """Remove a slot's folder; /root must be empty: what may be a drive is never walked into."""
    if (folder / "root").is_dir():
        (folder / "root").rmdir()
    shutil.rmtree(folder / "run", ignore_errors=True)
    (folder / _TAKEN).unlink(missing_ok=True)
    folder.rmdir()


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip()[:200]
        raise EngineFault("command_failed", command=f"mount {words[-1]}", words=said)
