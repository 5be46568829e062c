"""What of the node's disk an engine's container sees: its orders and what it reads, to read; and
the folders that it makes in its run's folder, as any run has them.

Not among it: the run's token and the rest of its folder, the node's cache, other runs.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from engine.specs import Placement
from workers.files import write_whole
from workers.machines.binds import bind
from workers.machines.walls import EngineFault
from workers.scripts.box import Box

RUN_PLACE, READ_PLACE, RESUME_PLACE = "/run/athanor/run", "/run/athanor/read", "/run/athanor/resume"
_MADE = ("data", "checkpoints", "out", "tensorboard")


@dataclass(frozen=True)
class Shown:
    """Where things of the node are in a container."""

    read: dict[str, Path]
    """Read-only, by the place inside."""
    written: dict[str, Path]


class EngineBox(Box):
    """One run's."""

    def fill_for(self, placement: Placement, *, user: int) -> Shown:
        """Make it; `user` is whom the engine runs as, as the node counts users.

        Raises:
            EngineFault, OSError: it cannot be made.
        """
        self.lay_out()
        inside, snapshots = place_inside(placement)
        given = self.path / "given"
        given.mkdir()
        spec = (self.run_dir / "spec.json").read_bytes()
        for name, data in (("spec.json", spec), ("placement.json", _write(inside))):
            write_whole(given / name, data)
            (given / name).chmod(0o644)
        given.chmod(0o755)
        read = self.link_inputs(snapshots)
        bind(self.path, self.shown)
        read[RUN_PLACE] = self.shown / "given"
        if (earlier := placement.resume_from) is not None and is_own_folder(earlier):
            bind(earlier, self.show("resume"))
            read[RESUME_PLACE] = self.show("resume")
        return Shown(read, {f"{RUN_PLACE}/{name}": self._open(name, user) for name in _MADE})

    def _open(self, name: str, user: int) -> Path:
        """Let the engine write into a folder of the run's."""
        (self.path / "given" / name).mkdir()  # where it is mounted
        folder = self.run_dir / name
        folder.mkdir(mode=0o755, exist_ok=True)
        if folder.is_symlink():
            raise EngineFault("box_has_link", folder=folder)
        os.chown(folder, user, user)
        bind(folder, self.show(name))
        return self.show(name)


def place_inside(placement: Placement) -> tuple[Placement, dict[str, str]]:
    """Return a placement as the engine in the container gets it, and what is shown for it.

    It holds no token, and no place but of the container's.
    """
    shown: dict[str, str] = {}
    fetched = {}
    for number, (name, repo) in enumerate(sorted(placement.fetched.items())):
        place = f"{READ_PLACE}/{number}"
        shown[place] = str(repo.path)
        fetched[name] = repo.model_copy(update={"path": Path(place)})
    inside = Placement(
        run_dir=Path(RUN_PLACE),
        devices=placement.devices,
        num_threads=placement.num_threads,
        resume_from=None if placement.resume_from is None else Path(RESUME_PLACE),
        fetched=fetched,
        provenance=placement.provenance,
    )
    return inside, shown


def is_own_folder(path: Path) -> bool:
    """Say whether a checkpoint is a folder where it stands: an engine could have left a link."""
    return path.is_dir() and not path.is_symlink() and not path.parent.is_symlink()


def _write(placement: Placement) -> bytes:
    return placement.model_dump_json().encode()
