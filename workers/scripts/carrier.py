"""Carries one script: its drive and inputs in, its numbers and its output out."""

import time
from pathlib import Path

from engine.events import EventBase
from engine.sentences import RUN_SENTENCES
from engine.specs import ScriptSpec
from engine.specs.outcome import Outcome
from engine.status import Reason
from workers.carrier import RunCarrier
from workers.files import read_json
from workers.machines.firewall import is_firewall_up
from workers.machines.walls import EngineFault
from workers.scripts.box import Box
from workers.scripts.containers import Ended, ScriptEngine
from workers.scripts.metrics import MetricReader

_POLL_S = 0.1
_WALLS_S = 90.0  # the host of machines lays them within a minute
_START_TRIES = 3


class Carrier(RunCarrier):
    """One script's."""

    what = "script"

    def __init__(self, run_dir: Path, engine: ScriptEngine, *, drives: Path | None) -> None:
        """Take the run's folder, who is asked for its container, and where drives are."""
        super().__init__(run_dir, engine, Box(run_dir))
        self._scripts, self._drives = engine, drives
        self._reader = MetricReader()
        self._mounts: dict[str, Path] = {}
        assert self._order.container is not None and isinstance(self._order.spec, ScriptSpec)
        self._container, self._spec = self._order.container, self._order.spec

    def fill(self) -> None:
        """Make the box, once the walls are there."""
        self._await_walls()
        owner = self._scripts.prepare(self._container)
        inputs = read_json(self._run_dir / "inputs.json") or {}
        self._mounts = self._box.fill(
            inputs,
            owner=owner,
            drive=self._find_drive(owner),
            output_bytes=self._container.limits.scratch_bytes,
        )

    def start(self) -> str:
        """Start the container; its network may be removed as idle in the same moment."""
        for left in reversed(range(_START_TRIES)):
            try:
                return self._scripts.start(self._order, self._box, self._mounts)
            except EngineFault:
                self._scripts.remove(self._order.run_id)
                if not left:
                    raise
        raise AssertionError("unreachable")

    def find_limit(self) -> tuple[float, str]:
        """Return the spec's time limit."""
        minutes = self._spec.time_limit_minutes
        return minutes * 60, RUN_SENTENCES.say("time_limit", minutes=minutes)

    def hear(self, data: bytes) -> None:
        """Turn lines of numbers into events."""
        self.emit([_write_event(event) for event in self._reader.feed(data)])

    def conclude(self) -> None:
        """Tell of the lines that were none."""
        if self._reader.num_bad:
            words = (
                f"{self._reader.num_bad} lines in $ATHANOR_METRICS were no JSON objects of numbers"
            )
            self.say(words.encode() + b"\n")

    def judge(self, ended: Ended) -> Outcome:
        """Say how it ended."""
        code = ended.exit_code
        if code == 0:
            return Outcome(exit_code=0)
        if ended.was_out_of_memory:
            limit = f"{self._container.limits.memory_bytes / 2**30:.2f} GiB"
            message = RUN_SENTENCES.say("script_past_memory", limit=limit)
            return Outcome(exit_code=code, reason=Reason.OUT_OF_MEMORY, message=message)
        if lost := self._judge_container(ended):
            return lost
        message = RUN_SENTENCES.say("script_crashed", status=code)
        return Outcome(exit_code=code, reason=Reason.CRASHED, message=message)

    def _await_walls(self) -> None:
        """Wait for the node's packet filter: without it a script would reach what it must not."""
        deadline = time.monotonic() + _WALLS_S
        while not is_firewall_up():
            if time.monotonic() > deadline or self._is_stopped:
                raise EngineFault("no_packet_filter")
            time.sleep(_POLL_S)

    def _find_drive(self, owner: int) -> Path | None:
        name = self._container.home
        if name is None:
            return None
        if self._drives is None:
            raise EngineFault("drives_not_set")
        home = self._drives / name / "home"
        if not home.is_dir() or home.is_symlink():
            raise EngineFault("drive_missing", drive=name)
        if (owned_by := home.stat().st_uid) != owner:
            raise EngineFault("drive_of_another", drive=name, owner=owned_by, root=owner)
        return home


def _write_event(event: EventBase) -> bytes:
    return event.model_dump_json(exclude={"seq", "time"}, exclude_none=True).encode()
