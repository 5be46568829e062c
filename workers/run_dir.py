"""One run's folder on a node, as the node reads and writes it. The engine's side is the recorder's.

| file | written by | says |
| --- | --- | --- |
| order.json, spec.json, placement.json | supervisor, before it has its name | what to start |
| launch.json | supervisor, once | the engine may have been started: never do it again |
| recorder.json | recorder | which processes are the run |
| events.jsonl | recorder (`engine close` where it is dead) | all that happened |
| stop.json | reporter, once | the run shall end, and why |
| reported.json | reporter | the studio has every event |
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.events import EVENT, StatusEvent
from engine.specs import Placement
from engine.status import FINAL, Reason
from workers.files import read_json, write_once, write_whole
from workers.orders import RunOrder
from workers.process_identity import ProcessIdentity, read_boot_id

_TAIL_BYTES = 65_536  # a final status is a sentence and a hash: far more than it takes


class StopWish(BaseModel):
    """Why a run shall end."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reason: Reason = Reason.STOPPED_BY_OWNER
    message: str = ""


@dataclass(frozen=True)
class RunProcesses:
    """What the recorder wrote of itself and its child."""

    recorder: ProcessIdentity
    engine: ProcessIdentity | None


@dataclass(frozen=True)
class RunDir:
    """The folder of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        """The folder is named after the run."""
        return self.path.name

    @property
    def events_path(self) -> Path:
        """The stream of events; absent until the recorder has begun."""
        return self.path / "events.jsonl"

    def read_order(self) -> RunOrder | None:
        """Return the order the run was made for."""
        try:
            return RunOrder.model_validate_json((self.path / "order.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def read_placement(self) -> Placement | None:
        """Return where the run happens, as its folder was made."""
        try:
            return Placement.model_validate_json((self.path / "placement.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def mark_launch(self, runtime: str) -> bool:
        """Claim the one and only start; False when it has been claimed before."""
        value = {"boot_id": read_boot_id(), "runtime": runtime}
        return write_once(self.path / "launch.json", value)

    def read_launch_time(self) -> float | None:
        """Return when the run was launched, or None where it was not."""
        try:
            return (self.path / "launch.json").stat().st_mtime
        except FileNotFoundError:
            return None

    def was_launched_before_reboot(self) -> bool:
        """Say whether the machine has been started anew since the launch."""
        launch = read_json(self.path / "launch.json")
        return launch is not None and launch.get("boot_id") != read_boot_id()

    def read_processes(self) -> RunProcesses | None:
        """Return the processes of the run, or None before the recorder has named them."""
        value = read_json(self.path / "recorder.json")
        if value is None or not isinstance(value.get("pid"), int):
            return None
        recorder = ProcessIdentity(value["pid"], int(value.get("start_ticks") or 0))
        pid = value.get("engine_pid")
        engine = ProcessIdentity(pid, int(value.get("engine_start_ticks") or 0)) if pid else None
        return RunProcesses(recorder, engine)

    def wish_stop(self, wish: StopWish) -> bool:
        """Ask for the end of the run; the first wish stands."""
        return write_once(self.path / "stop.json", wish.model_dump(mode="json"))

    def read_stop(self) -> StopWish | None:
        """Return the wish to end, where there is one."""
        value = read_json(self.path / "stop.json")
        return None if value is None else StopWish.model_validate(value)

    def mark_reported(self, next_seq: int) -> None:
        """Note that the studio needs nothing more of this run."""
        value = {"next_seq": next_seq, "time": time.time()}
        write_whole(self.path / "reported.json", json.dumps(value).encode())

    def is_reported(self) -> bool:
        """Say whether the studio has all of it."""
        return (self.path / "reported.json").exists()

    def is_final(self) -> bool:
        """Say whether the last event is whole and ends the run. Reads the end of the file only."""
        try:
            with self.events_path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = file.read()
        except FileNotFoundError:
            return False
        return tail.endswith(b"\n") and is_final_line(tail[:-1].rpartition(b"\n")[2])

    def find_last_checkpoint(self) -> Path | None:
        """Return the newest checkpoint folder; the engine names one only when it is whole."""
        steps = {
            int(number): folder
            for folder in self.path.glob("checkpoints/step-*")
            if (number := folder.name.removeprefix("step-")).isdigit()
        }
        return steps[max(steps)] if steps else None


def is_final_line(line: bytes) -> bool:
    """Say whether this event ends its run."""
    if b'"status"' not in line:
        return False
    try:
        event = EVENT.validate_json(line)
    except ValidationError:
        return False
    return isinstance(event, StatusEvent) and event.status in FINAL
