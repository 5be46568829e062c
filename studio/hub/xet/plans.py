"""How a file is rebuilt: its terms, and which bytes of which xorbs a client has to fetch.

Source: "Download Protocol" of the Xet specification 1.1.0. Runs of chunks are `[start, end)`;
ranges of bytes name their last byte.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from studio.hub.xet.models import XetFile
from studio.hub.xet.reading import Run, list_runs, read_index

Json = dict[str, Any]


class BehindEnd(ValueError):
    """The wanted range begins behind the file's end."""


@dataclass(frozen=True)
class Fetch:
    """A run of chunks of a xorb, and the bytes `first` to `last` that hold it."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """What to fetch, and how to put it together."""

    skipped_bytes: int
    """Of the first term, bytes before the wanted range."""
    runs: list[Run]
    fetches: dict[str, list[Fetch]]
    """By xorb; runs that touch are one fetch."""


def plan_file(file: XetFile, wanted: tuple[int, int] | None = None) -> Plan:
    """Plan a file, or the bytes `first` to `last` of it.

    Raises:
        BehindEnd: the file has no such byte.
    """
    first, last = wanted or (0, max(file.size_bytes - 1, 0))
    if wanted and first >= file.size_bytes:
        raise BehindEnd
    runs: list[Run] = []
    skipped_bytes = begin = 0
    for run in list_runs(file):
        end = begin + run.unpacked_bytes
        if end > first and begin <= last:
            cut, before = _cut(run, first - begin, last - begin)
            if not runs:
                skipped_bytes = first - begin - before
            runs.append(cut)
        begin = end
    return Plan(skipped_bytes, runs, list_fetches(runs))


def list_fetches(runs: list[Run]) -> dict[str, list[Fetch]]:
    """Return what to fetch for some runs."""
    spans: dict[str, list[list[int]]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.xorb, run.start)):
        known = spans[run.xorb]
        if known and run.start <= known[-1][1]:
            known[-1][1] = max(known[-1][1], run.end)
        else:
            known.append([run.start, run.end])
    fetches = {}
    for xorb, found in spans.items():
        index = read_index(xorb)
        ranges = [(start, end, *index.packed_range(start, end)) for start, end in found]
        fetches[xorb] = [Fetch(start, end, a, b - 1) for start, end, a, b in ranges]
    return fetches


def _cut(run: Run, first: int, last: int) -> tuple[Run, int]:
    """Return the chunks of a run that hold the bytes `first` to `last`, and the bytes before."""
    if first <= 0 and last >= run.unpacked_bytes - 1:
        return run, 0
    index = read_index(run.xorb)
    base = index.unpacked_range(run.start, run.end)[0]
    start = index.find_chunk(base + max(first, 0))
    end = min(index.find_chunk(base + min(last, run.unpacked_bytes - 1)) + 1, run.end)
    begin, stop = index.unpacked_range(start, end)
    return Run(run.xorb, start, end, stop - begin), begin - base
