"""Reads what a run said, event by event, as the pages and scripts get it."""

import math
from typing import Any

from studio.jobs.models import Run, RunEvent

_MOST_BYTES = 2**20
_MOST_POINTS = 5000


def read_events(
    run: Run, *, after: int, limit: int, kind: str = ""
) -> tuple[list[dict[str, Any]], int]:
    """Return events from seq `after` on, and the seq to ask for next.

    At most `limit` of them and about 1 MiB of log, one at least where there is one. `kind` is the
    one type of event wanted; empty is every type.
    """
    rows = RunEvent.objects.filter(run=run, seq__gte=after).order_by("seq")
    if kind:
        rows = rows.filter(type=kind)
    events: list[dict[str, Any]] = []
    num_bytes, next_seq = 0, after
    for row in rows[:limit].iterator(chunk_size=64):
        num_bytes += len(row.data or b"")
        if events and num_bytes > _MOST_BYTES:
            return events, next_seq
        events.append(to_output(row))
        next_seq = row.seq + 1
    return events, next_seq


def to_output(row: RunEvent) -> dict[str, Any]:
    """Return an event as `engine.events` has it; a log piece as text and with its first line."""
    head = {"seq": row.seq, "time": row.time, "type": row.type}
    if row.type == "log":
        text = bytes(row.data or b"").decode(errors="replace")
        return {**head, "text": text, "first_line": row.first_line}
    return {**head, **(row.body or {})}


def read_metrics(run: Run) -> dict[str, list[list[float | None]]]:
    """Return `[step, value, time]` by the metric's name, thinned evenly where there are many.

    A value is None where the engine measured no finite number.
    """
    rows = RunEvent.objects.filter(run=run, type="metric").order_by("seq")
    series: dict[str, list[list[float | None]]] = {}
    for time, body in rows.values_list("time", "body").iterator(chunk_size=500):
        for name, value in (body or {})["values"].items():
            series.setdefault(name, []).append([(body or {})["step"], value, time])
    return {name: _thin(points) for name, points in series.items()}


def read_samples(run: Run) -> list[dict[str, Any]]:
    """Return the texts the model made while in training, in order."""
    rows = RunEvent.objects.filter(run=run, type="sample").order_by("seq")
    return [{**(body or {}), "time": time} for time, body in rows.values_list("time", "body")]


def _thin(points: list[list[float | None]]) -> list[list[float | None]]:
    stride = math.ceil(len(points) / _MOST_POINTS)
    if stride <= 1:
        return points
    kept = points[::stride]
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]
