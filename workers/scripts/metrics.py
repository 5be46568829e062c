"""The numbers that a script tells: JSON lines, each an object of numbers, such as
`{"step": 3, "loss": 0.5}`; `done` and `total` are how far it is. They become the run's events.
"""

import json
import math
from typing import Any

from engine.events import EventBase, Metric, Progress

_MOST_LINE = 65_536
_MOST_VALUES = 100
_MOST_NAME = 100
_OWN = ("step", "done", "total")


class MetricReader:
    """Cuts what comes into lines, and lines into events. What is none is counted, and let be."""

    def __init__(self) -> None:
        self._held = b""
        self._step = 0
        self.num_bad = 0
        """Lines that were none."""

    def feed(self, data: bytes) -> list[EventBase]:
        """Take bytes as they come, and return the events of the lines that are whole."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _MOST_LINE:
            self._held, self.num_bad = b"", self.num_bad + 1
        return [event for line in lines if line.strip() for event in self._read(line)]

    def _read(self, line: bytes) -> list[EventBase]:
        try:
            body = json.loads(line) if len(line) <= _MOST_LINE else None
            return _to_events(body, self._count(body))
        except (ValueError, RecursionError):
            self.num_bad += 1
            return []

    def _count(self, body: Any) -> int:
        """Return the step that is told, else the one after the last."""
        told = body.get("step") if isinstance(body, dict) else None
        if told is None:
            told = self._step + 1
        if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told < 2**53:
            raise ValueError("no step")
        self._step = told
        return told


def _to_events(body: Any, step: int) -> list[EventBase]:
    if not isinstance(body, dict):
        raise ValueError("no object")
    values = {name: _number(value) for name, value in body.items() if name not in _OWN}
    if len(values) > _MOST_VALUES or any(len(name) > _MOST_NAME for name in values):
        raise ValueError("too much")
    if any("\x00" in name for name in values):
        raise ValueError("NUL, which PostgreSQL takes in no text")
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    events: list[EventBase] = []
    if finite:
        events.append(Metric(seq=0, time=0, step=step, values=finite))
    if "done" in body:
        total = None if body.get("total") is None else _number(body["total"])
        events.append(
            Progress(seq=0, time=0, stage="script", done=_number(body["done"]), total=total)
        )
    return events


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    return float(value)
