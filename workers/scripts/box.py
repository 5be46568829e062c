"""What of the node's disk a script's container sees: its words' way out, its inputs and its output.

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
from workers.share import link_tree

_SHOWN = Path("/run/athanor/scripts")  # which a container's root can pass through, unlike the data


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
        return _SHOWN / self.run_dir.name / "box"

    @property
    def home(self) -> Path:
        """The owner's drive, where it can be mounted from."""
        return _SHOWN / self.run_dir.name / "home"

    @property
    def log(self) -> Path:
        """The pipe of what the script writes."""
        return self.path / "log"

    @property
    def metrics(self) -> Path:
        """The pipe of the numbers that it tells."""
        return self.path / "metrics"

    def fill(self, inputs: dict[str, str], *, owner: int, drive: Path | None) -> dict[str, Path]:
        """Make it, and return where each input can be mounted from; `owner` is their root.

        Raises:
            EngineFault, OSError: it cannot be made.
        """
        shutil.rmtree(self.path, ignore_errors=True)
        (self.path / "inputs").mkdir(parents=True)
        (self.path / "output").mkdir()
        os.chown(self.path / "output", owner, owner)
        (self.path / "output").chmod(0o777)  # an image may run as another user than root
        for pipe in (self.log, self.metrics):
            os.mkfifo(pipe)
            pipe.chmod(0o622)
        for folder in (self.path, self.path / "inputs"):
            folder.chmod(0o755)
        mounts = {}
        for number, (place, snapshot) in enumerate(sorted(inputs.items())):
            link_tree(Path(snapshot), self.path / "inputs" / str(number))
            mounts[place] = self.shown / "inputs" / str(number)
        bind(self.path, self.shown)
        if drive is not None:
            bind(drive, self.home)
        return mounts

    def clear(self) -> None:
        """Take away all but the output: the container is gone."""
        for shown in (self.home, self.shown):
            unbind(shown)
            if shown.is_dir():
                shown.rmdir()
        if self.shown.parent.is_dir():
            self.shown.parent.rmdir()
        shutil.rmtree(self.path / "inputs", ignore_errors=True)
        for pipe in (self.log, self.metrics):
            pipe.unlink(missing_ok=True)
