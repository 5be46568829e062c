"""What the supervisor asks of a runtime, which keeps no state beyond that in run directories."""

import signal
from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from engine.specs import Placement
from workers.run_dir import RunDir


class Life(Enum):
    """What can be told of a run that was launched."""

    STARTING = "starting"
    """Launched, and no recorder has named itself yet."""
    ALIVE = "alive"
    GONE = "gone"
    """It will write nothing more."""


class Runtime(Protocol):
    """One way of running engines on a node."""

    name: str

    def start(self, run: RunDir, placement: Placement, *, devices: Sequence[int]) -> None:
        """Start the run's recorder, detached: it outlives the supervisor.

        `devices` are the node's numbers of its GPUs; `placement` counts them from 0, as the
        engine sees them.

        Raises:
            OSError: it could not be started.
        """

    def look(self, run: RunDir) -> Life:
        """Say whether the run lives, whoever started it."""

    def signal(self, run: RunDir, signum: signal.Signals) -> None:
        """Send SIGTERM to the recorder (stop, keep what you have), or SIGKILL to all of the run."""

    async def close(self, run: RunDir, reason: str, message: str) -> bool:
        """Write the final event of a run whose recorder is gone; say whether it is written."""

    async def clear(self, run: RunDir) -> bool:
        """Remove what a run that is over left on the node; False where it is to be tried again."""
