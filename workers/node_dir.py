"""What a node keeps on disk, and by that alone knows after any crash.

orders/RUN.json   orders taken from the queue, not yet a run
runs/RUN/         one folder a run, in one place for all its life; swept by age after its end
active/RUN        an empty file for each run that goes on, or that the studio has not heard out
cache/            models and datasets, shared by runs
share/            chosen repos, for machines and jobs to read at /share
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workers.files import sync_folder, write_once, write_whole
from workers.orders import RunOrder
from workers.run_dir import RunDir

_HIDDEN = "."  # names of unfinished things start with it


@dataclass(frozen=True)
class NodeDir:
    """The node's one folder."""

    path: Path

    @property
    def cache(self) -> Path:
        """Models and datasets fetched from the hub."""
        return self.path / "cache"

    @property
    def share(self) -> Path:
        """What is mounted as /share."""
        return self.path / "share"

    @property
    def orders(self) -> Path:
        """The spool."""
        return self.path / "orders"

    @property
    def runs(self) -> Path:
        """The folders of runs."""
        return self.path / "runs"

    @property
    def active(self) -> Path:
        """Names of the runs that still need care."""
        return self.path / "active"

    def create(self) -> None:
        """Make the folders, for this user alone: run directories hold tokens."""
        for folder in (self.path, self.orders, self.runs, self.active, self.cache):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def tidy(self) -> None:
        """Remove what a crash left half made. Only the supervisor may, at its start."""
        for path in self.runs.glob(".new-*"):
            shutil.rmtree(path)
        for mark in self.active.iterdir():
            if not (self.runs / mark.name).is_dir():
                mark.unlink()

    def find_run(self, run_id: str) -> RunDir | None:
        """Return the run's folder, where there is one."""
        run = RunDir(self.runs / run_id)
        return run if run.path.is_dir() else None

    def spool_order(self, order: RunOrder) -> bool:
        """Keep an order for the supervisor; False when this run is known already."""
        return self.spool(order.run_id, order.model_dump(mode="json"))

    def spool(self, run_id: str, order: dict[str, Any]) -> bool:
        """Do the same for one that may not be readable here."""
        path = self.orders / f"{run_id}.json"
        return not self.find_run(run_id) and write_once(path, order)

    def list_orders(self) -> list[Path]:
        """Return the spooled orders, oldest name first."""
        return sorted(path for path in self.orders.glob("*.json") if path.name[0] != _HIDDEN)

    def read_live_orders(self) -> list[RunOrder | None]:
        """Return the orders that wait and those of live runs; None for what cannot be read."""
        waiting = []
        for path in self.list_orders():
            try:
                waiting.append(RunOrder.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                continue
        return [*waiting, *(run.read_order() for run in self.list_active())]

    def list_active(self) -> list[RunDir]:
        """Return the runs that still need care."""
        names = sorted(entry.name for entry in os.scandir(self.active))
        return [run for name in names if (run := self.find_run(name))]

    def place_run(self, order: RunOrder, files: dict[str, bytes]) -> RunDir:
        """Make a run's folder in one step, with everything its start needs in it."""
        partial = self.runs / f".new-{order.run_id}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        for name, data in files.items():
            write_whole(partial / name, data)
        (self.active / order.run_id).touch()
        sync_folder(self.active)
        run = RunDir(self.runs / order.run_id)
        partial.rename(run.path)
        sync_folder(self.runs)
        return run

    def shelve_run(self, run: RunDir) -> None:
        """Note that a run needs no more care."""
        (self.active / run.run_id).unlink()

    def list_shelved(self) -> list[RunDir]:
        """Return the runs that need no more care."""
        active = {entry.name for entry in os.scandir(self.active)}
        names = (entry.name for entry in os.scandir(self.runs))
        return [RunDir(self.runs / n) for n in names if n[0] != _HIDDEN and n not in active]
