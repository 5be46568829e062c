"""Has the node run the work in a container, and hears how it ended.

Nothing of that work runs in this process, nor as this user: the placement's carrier makes the
container (workers.scripts, workers.engines). What it left behind is taken without its links.
"""

import os
import stat
import subprocess
from pathlib import Path

from engine.errors import EngineError
from engine.processes import start_child
from engine.runtime import copy_environment, read_event_fd
from engine.specs import Placement
from engine.specs.outcome import Outcome
from engine.status import Reason

OUTCOME_NAME = "outcome.json"
_STOP_S = 3.5  # the recorder gives four


def carry(placement: Placement) -> Outcome:
    """Have the container run to its end; its output and its events go where this process's do.

    Raises:
        EngineError: what ran it left no word.
    """
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


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
