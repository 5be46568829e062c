"""What of the node's disk a run's container sees: its words' way out, its inputs and its output.

Its words go through named pipes of the run, past the Docker engine: that cuts lines, mends what is
no UTF-8, and forgets what was written while it was away. A pipe holds what is written until it is
read, and the writer waits: nothing is lost, whatever becomes of the engine.

Nothing here is reached by a name that the container chose.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from workers.machines.binds import bind, unbind
from workers.machines.scratch import ScratchDisks
from workers.share import link_tree

_SHOWN = Path("/run/athanor/scripts")  # which a container's root can pass through, unlike the data
_OUTPUT = "output"
_DISK = "disk"


@dataclass(frozen=True)
class Box:
    """One run's."""

    run_dir: Path

    @property
    def path(self) -> Path:
        """On the node's disk."""
        return self.run_dir / "box"

    @property
    def shown(self) -> Path:
        """The same, where it can be mounted from."""
        return self.show("box")

    @property
    def home(self) -> Path:
        """The owner's drive, where it can be mounted from."""
        return self.show("home")

    @property
    def output(self) -> Path:
        """What it makes, where that can be mounted from."""
        return self.show(_OUTPUT)

    @property
    def log(self) -> Path:
        """The pipe of what it writes."""
        return self.path / "log"

    @property
    def second(self) -> Path:
        """The pipe of what it tells: a script's numbers, an engine's events."""
        return self.path / "told"

    def show(self, name: str) -> Path:
        """Return the place of this name that can be mounted from."""
        return _SHOWN / self.run_dir.name / name

    def fill(
        self,
        inputs: dict[str, str],
        *,
        owner: int,
        drive: Path | None,
        output_bytes: int | None = None,
    ) -> dict[str, Path]:
        """Make it, and return where each input can be mounted from; `owner` is their root.

        `output_bytes` is what the output may hold, where the node can limit it; None is no limit.

        Raises:
            EngineFault, OSError: it cannot be made.
        """
        self.lay_out()
        mounts = self.link_inputs(inputs)
        bind(self.path, self.shown)
        self._make_output(output_bytes, owner)
        if drive is not None:
            bind(drive, self.home)
        return mounts

    def lay_out(self) -> None:
        """Make it anew, with its pipes."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)
        (self.path / "inputs").mkdir(parents=True)
        for pipe in (self.log, self.second):
            os.mkfifo(pipe)
            pipe.chmod(0o622)
        for folder in (self.path, self.path / "inputs"):
            folder.chmod(0o755)

    def link_inputs(self, inputs: dict[str, str]) -> dict[str, Path]:
        """Lay out snapshots of the node's cache; return where each can be mounted from."""
        mounts = {}
        for number, (place, snapshot) in enumerate(sorted(inputs.items())):
            link_tree(Path(snapshot), self.path / "inputs" / str(number))
            mounts[place] = self.shown / "inputs" / str(number)
        return mounts

    def clear(self) -> None:
        """Take away what the container saw, which is gone; its output is yet to be pushed."""
        self._clear_shown({_OUTPUT} if (self.path / _OUTPUT).is_symlink() else set())
        shutil.rmtree(self.path / "inputs", ignore_errors=True)
        for pipe in (self.log, self.second):
            pipe.unlink(missing_ok=True)

    def close(self) -> None:
        """Clear, and let go of the output's disk too. Its file stays with the run."""
        self.clear()
        self._clear_shown(set())

    def _clear_shown(self, kept: set[str]) -> None:
        folder = self.shown.parent
        for shown in sorted(folder.iterdir()) if folder.is_dir() else ():
            if shown.name not in kept:
                unbind(shown)
                shown.rmdir()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _make_output(self, num_bytes: int | None, owner: int) -> None:
        """Make the output's folder: where the node can, a link to a disk of its own.

        That is mounted nowhere below the run's folder, which can so be removed at any time.
        """
        folder = self.path / _OUTPUT
        if num_bytes is not None and ScratchDisks.is_able():
            disks = ScratchDisks(self.path / _DISK, self.output.parent)
            _open(disks.show(_OUTPUT, num_bytes, owner=owner), owner)
            folder.symlink_to(self.output)
        else:
            folder.mkdir()
            _open(folder, owner)
            bind(folder, self.output)


def _open(folder: Path, owner: int) -> None:
    os.chown(folder, owner, owner)
    folder.chmod(0o777)  # an image may run as another user than root
