"""The script verb: fetch what the script reads, have the node run it, push what it made.

Nothing of the script ever runs in this process, nor as this user: the placement's carrier starts a
container (workers.scripts). Between the lines of fetching and pushing, the log is the script's own.
"""

import json
from pathlib import Path

from engine.carry import carry, keep_plain
from engine.emitter import Emitter
from engine.errors import EngineError, WorkEnded
from engine.hub import fetch_repo, push_folder
from engine.specs import JobSpec, Placement, ScriptSpec
from engine.status import Reason
from engine.stopping import StopGate

INPUTS_NAME = "inputs.json"
_PUSHED_AFTER = {Reason.NONE, Reason.TIME_LIMIT}


def run_script(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do a ScriptSpec's work in a placement's run directory.

    Raises:
        EngineError: an input cannot be had, no container can be made, or the output is lost.
        WorkEnded: the script ended with another exit status than 0, or was ended.
        StopRequested: when asked to stop; the container is gone.
    """
    assert isinstance(spec, ScriptSpec)
    if not placement.carrier:
        raise EngineError(
            Reason.LAUNCH_FAILED,
            "A script runs in a container only, and this node makes none: ask its operator.",
        )
    places = {
        place: str(fetch_repo(ref, kind, placement, emitter).path)
        for place, (kind, ref) in spec.list_inputs().items()
    }
    (placement.run_dir / INPUTS_NAME).write_text(json.dumps(places), encoding="utf-8")
    outcome = carry(placement)
    if spec.output and outcome.reason in _PUSHED_AFTER:
        _deliver(placement.run_dir / "box" / "output", placement, emitter)
    if outcome.reason is not Reason.NONE:
        raise WorkEnded(outcome.reason, outcome.message, outcome.exit_code or 1)


def _deliver(folder: Path, placement: Placement, emitter: Emitter) -> None:
    """Push what the script made. No link is followed: it may point at anything of the node's."""
    num_left_out = keep_plain(folder)
    if num_left_out:
        print(f"{num_left_out} links or special files in /output are not pushed", flush=True)
    if any(path.is_file() for path in folder.rglob("*")):
        push_folder(folder, "model", placement, emitter)
    else:
        print("There is no file in /output: nothing is pushed", flush=True)
