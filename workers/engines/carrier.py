"""Carries one engine: the orders in, its events out, and its own word on how it ended."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from engine.sentences import RUN_SENTENCES
from engine.specs import FetchedRepo, Placement
from engine.specs.outcome import Outcome
from engine.status import Reason, Status
from workers.carrier import KILLED, RunCarrier
from workers.engines.box import EngineBox, Shown
from workers.engines.containers import EngineContainers, limit
from workers.engines.words import WordReader
from workers.inventory import Device
from workers.machines.walls import EngineFault
from workers.scripts.containers import Ended

_FETCHED: TypeAdapter[dict[str, FetchedRepo]] = TypeAdapter(dict[str, FetchedRepo])


class EngineCarrier(RunCarrier):
    """One engine's."""

    stop_grace_s = 3.0  # it writes a checkpoint; the verb outside waits for half a second more
    what = "run"

    def __init__(self, run_dir: Path, engine: EngineContainers, devices: Sequence[Device]) -> None:
        """Take the run's folder, who is asked for its container, and what GPUs the node has."""
        self._shut_in = EngineBox(run_dir)
        super().__init__(run_dir, engine, self._shut_in)
        self._containers, self._devices = engine, {each.index: each.uuid for each in devices}
        self._words = WordReader()
        self._shown = Shown({}, {})
        self._image = ""

    def fill(self) -> None:
        """Lay out the engine's orders, as they are inside."""
        placement = Placement.model_validate_json((self._run_dir / "placement.json").read_bytes())
        fetched = _FETCHED.validate_json((self._run_dir / "fetched.json").read_bytes())
        self._image = self._containers.find_image()
        provenance = placement.provenance | {"image": self._image}
        whole = placement.model_copy(update={"fetched": fetched, "provenance": provenance})
        self._shown = self._shut_in.fill_for(whole, user=self._containers.find_user())

    def start(self) -> str:
        """Start the container, with the GPUs that the run was given."""
        missing = [index for index in self._order.devices if index not in self._devices]
        if missing:
            raise EngineFault("device_missing", device=missing[0])
        chosen = [self._devices[index] for index in self._order.devices]
        return self._containers.start(
            self._order, self._shut_in, self._shown, image=self._image, devices=chosen
        )

    def hear(self, data: bytes) -> None:
        """Hand the engine's events on."""
        self.emit(self._words.feed(data))

    def conclude(self) -> None:
        """Hand on what a kill cut off: the recorder keeps it in the log."""
        self.emit(self._words.end())

    def judge(self, ended: Ended) -> Outcome:
        """Say how it ended: in its own words, where it had any and they can be true."""
        code, said = ended.exit_code, self._words.last
        if said is not None and said.status is Status.SUCCEEDED:
            return Outcome(exit_code=0)
        if said is not None and said.status is Status.FAILED:
            return Outcome(exit_code=code, reason=said.reason, message=said.message)
        if ended.was_out_of_memory:
            most = f"{limit(self._order).memory_bytes / 2**30:.2f} GiB"
            message = RUN_SENTENCES.say("run_past_memory", limit=most)
            return Outcome(exit_code=code, reason=Reason.OUT_OF_MEMORY, message=message)
        if lost := self._judge_container(ended):
            return lost
        if said is not None:  # it heard a SIGTERM that was none of ours
            message = RUN_SENTENCES.say("container_stopped")
            return Outcome(exit_code=code, reason=Reason.NODE_LOST, message=message)
        if code == KILLED:  # nothing inside would, and it was not for memory
            message = RUN_SENTENCES.say("container_killed")
            return Outcome(exit_code=code, reason=Reason.NODE_LOST, message=message)
        message = RUN_SENTENCES.say("engine_crashed", status=code)
        return Outcome(exit_code=code, reason=Reason.CRASHED, message=message)
