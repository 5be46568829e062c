"""The script verb: fetch what the script reads, have the node run it, push what it made.

Nothing of the script ever runs in this process, nor as this user: the placement's carrier starts a
container (workers.scripts). Between the lines of fetching and pushing, the log is the script's own.
"""

import json
import os
import stat
import subprocess
from pathlib import Path

from engine.emitter import Emitter
from engine.errors import EngineError, ScriptEnded
from engine.hub import fetch_repo, push_folder
from engine.processes import start_child
from engine.runtime import copy_environment, read_event_fd
from engine.specs import JobSpec, Placement, ScriptSpec
from engine.specs.outcome import Outcome
from engine.status import Reason
from engine.stopping import StopGate

INPUTS_NAME, OUTCOME_NAME = "inputs.json", "outcome.json"
_STOP_S = 3.5  # the recorder gives four
_PUSHED_AFTER = {Reason.NONE, Reason.TIME_LIMIT}


def run_script(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do a ScriptSpec's work in a placement's run directory.

    Raises:
        EngineError: an input cannot be had, no container can be made, or the output is lost.
        ScriptEnded: the script ended with another exit status than 0, or was ended.
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
    outcome = _carry(placement)
    if spec.output and outcome.reason in _PUSHED_AFTER:
        _deliver(placement.run_dir / "box" / "output", placement, emitter)
    if outcome.reason is not Reason.NONE:
        raise ScriptEnded(outcome.reason, outcome.message, outcome.exit_code or 1)


def _carry(placement: Placement) -> Outcome:
    """Have the container run to its end; its output and its events go where this process's do."""
    event_fd = read_event_fd()
    child = start_child(
        [*placement.carrier, str(placement.run_dir)],
        log_fd=1,
        event_fd=event_fd if event_fd is not None else 2,
        environment=copy_environment(),
    )
    try:
        code = child.wait()
    finally:
        _end(child)
    try:
        return Outcome.model_validate_json((placement.run_dir / OUTCOME_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise EngineError(
            Reason.INTERNAL_ERROR,
            f"What ran the container ended with {code} and left no word; retry the run.",
        ) from error


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _deliver(folder: Path, placement: Placement, emitter: Emitter) -> None:
    """Push what the script made. No link is followed: it may point at anything of the node's."""
    num_left_out = keep_plain(folder)
    if num_left_out:
        print(f"{num_left_out} links or special files in /output are not pushed", flush=True)
    if any(path.is_file() for path in folder.rglob("*")):
        push_folder(folder, "model", placement, emitter)
    else:
        print("There is no file in /output: nothing is pushed", flush=True)


def keep_plain(folder: Path) -> int:
    """Remove all but plain files and folders below a folder that nobody writes now; count them."""
    num_removed = 0
    for root, folders, files in os.walk(folder, followlinks=False):
        for name in [*folders, *files]:
            path = Path(root, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                path.unlink()
                num_removed += 1
    return num_removed
