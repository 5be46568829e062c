"""Writes metrics and samples where TensorBoard reads them, beside the events that they are too."""

from pathlib import Path

from tensorboardX import SummaryWriter

from engine.events import EventBase, Metric, Sample

FOLDER = "tensorboard"
_FLUSH_S = 10
"""How old what is on disk may be while the training goes on."""


class Board:
    """A sink of events: one curve for each metric, and each sample under its prompt."""

    def __init__(self, run_dir: Path) -> None:
        """Write into a folder of the run's."""
        self._writer = SummaryWriter(str(run_dir / FOLDER), flush_secs=_FLUSH_S)

    def __call__(self, event: EventBase) -> None:
        """Write an event that is of a step."""
        if isinstance(event, Metric):
            for name, value in event.values.items():
                self._writer.add_scalar(name, value, event.step)
        elif isinstance(event, Sample):
            self._writer.add_text(event.prompt[:80], event.completion, event.step)

    def close(self) -> None:
        """Bring all to disk."""
        self._writer.close()
