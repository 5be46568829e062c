"""How engine code says what happens: typed calls that become events on the recorder's pipe.

It numbers and times nothing: the recorder does. Where nobody records, events go nowhere.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from engine.events import (
    ArtifactEvent,
    Endpoint,
    EventBase,
    Metric,
    Preview,
    Progress,
    Sample,
    StatusEvent,
)
from engine.specs.inspect import Inspection
from engine.status import Reason, Status

Sink = Callable[[EventBase], None]
ArtifactRole = Literal["adapter", "checkpoint", "model", "report"]


class Emitter:
    """Sends events to a sink. `seq` and `time` of what it sends mean nothing."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink or (lambda event: None)

    def beside(self, other: Sink) -> "Emitter":
        """Return an emitter that gives each event to another sink as well."""

        def give(event: EventBase) -> None:
            self._sink(event)
            other(event)

        return Emitter(give)

    def metric(self, step: int, values: dict[str, float]) -> None:
        """Report measured numbers; one that is not finite is left out, since JSON has none."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._sink(Metric(seq=0, time=0, step=step, values=finite))

    def progress(
        self,
        stage: str,
        done: float,
        total: float | None = None,
        *,
        unit: str = "",
        eta_s: float | None = None,
    ) -> None:
        """Report how far a stage is."""
        event = Progress(seq=0, time=0, stage=stage, done=done, total=total, unit=unit, eta_s=eta_s)
        self._sink(event)

    def artifact(
        self,
        name: str,
        role: ArtifactRole,
        *,
        path: str | None = None,
        repo: str | None = None,
        revision: str | None = None,
        size_bytes: int | None = None,
        step: int | None = None,
    ) -> None:
        """Report a folder below the run directory, or a revision in a hub."""
        event = ArtifactEvent(
            seq=0,
            time=0,
            name=name,
            role=role,
            path=path,
            repo=repo,
            revision=revision,
            size_bytes=size_bytes,
            step=step,
        )
        self._sink(event)

    def sample(self, step: int, prompt: str, completion: str) -> None:
        """Report text that the model made while in training; of NUL, no event may hold any."""
        text = completion.replace("\x00", "\ufffd")
        self._sink(Sample(seq=0, time=0, step=step, prompt=prompt, completion=text))

    def preview(self, inspection: Inspection) -> None:
        """Report what a training would learn; of NUL, no event may hold any."""
        clean = inspection.model_dump_json().replace("\\u0000", "\ufffd")
        told = Inspection.model_validate_json(clean)
        self._sink(Preview(seq=0, time=0, inspection=told))

    def endpoint(self, url: str, models: list[str]) -> None:
        """Report that a server is up."""
        self._sink(Endpoint(seq=0, time=0, url=url, models=models))

    def status(self, status: Status, reason: Reason, message: str = "") -> None:
        """Announce how the run ends; the recorder adds what it knows and has the last word."""
        self._sink(StatusEvent(seq=0, time=0, status=status, reason=reason, message=message))


def pipe_sink(fd: int) -> Sink:
    """Return a sink that writes JSON lines to the recorder's pipe."""
    os.set_inheritable(fd, False)

    def write(event: EventBase) -> None:
        body = event.model_dump_json(exclude={"seq", "time"}, exclude_none=True)
        view = memoryview(body.encode() + b"\n")
        while view:
            view = view[os.write(fd, view) :]

    return write


def measure_folder(folder: Path) -> int:
    """Sum the sizes of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
