"""Renders one file into a store: parsed and tokenized by several processes, written by one.

Memory is bounded by a few batches of rows for each process, however large the file is.
"""

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from engine.data.files import Position, RawRow, is_lines, iter_raw_lines, iter_rows
from engine.data.render import Renderer
from engine.data.samples import Sample, get_sides
from engine.data.store import Packed, StoreWriter, pack_samples
from engine.errors import EngineError
from engine.specs.contract import FileContract
from engine.specs.formats import (
    FORMAT_NAMES,
    NUM_LOOKED_AT,
    FormatName,
    detect_format,
    read_row,
)
from engine.specs.messages import parse_object
from engine.specs.problems import BadRow, RowProblem
from engine.specs.turns import Row
from engine.status import Reason

MOST_PROBLEMS_KEPT = 20
_BATCH_ROWS = 256
_BATCH_BYTES = 2**20
_BEGINNING_BYTES = 16 * 2**20
# A smaller file is done before other processes have loaded their libraries.
_WORTH_PROCESSES_BYTES = 8 * 2**20
Told = Callable[[int], None]
"""Called with the bytes of the file that are done."""


def find_format(path: Path, wanted: str) -> FormatName:
    """Return the format of a file: the one that is named, or the one its first rows have.

    Raises:
        EngineError: bad_data, when they have none that we know.
    """
    if wanted != "auto":
        return next(name for name in FORMAT_NAMES if name == wanted)
    first = [row for _, row, _ in islice(iter_rows(path), NUM_LOOKED_AT)]
    found = detect_format(first)
    if found is not None:
        return found
    fields = next((list(row) for row in first if isinstance(row, dict)), None)
    if fields is None:
        return "messages"  # whose problems tell what a row has to be
    told = ", ".join(str(name)[:40] for name in fields[:8]) or "none"
    raise EngineError(
        Reason.BAD_DATA,
        f"dataset: the rows of {path.name} are in no format we know (fields: {told}): name the "
        f"format, one of {', '.join(FORMAT_NAMES)}, and mend the rows.",
    )


def iter_canonical(path: Path, name: FormatName) -> Iterator[tuple[int, Row | None, list[RowProblem]]]:
    """Yield number, canonical row and problems of each row of a file.

    Raises:
        EngineError: bad_data, when the file cannot be read to its end.
    """
    for number, raw, problems in iter_rows(path):
        if problems:
            yield number, None, problems
        else:
            yield number, *read_row(raw, name, number)


def build_store(
    path: Path,
    folder: Path,
    renderer: Renderer,
    *,
    name: FormatName,
    told: Told = lambda num_bytes: None,
    num_workers: int = 1,
    most_rows: int | None = None,
) -> None:
    """Render a file into a new store in `folder`: all of it, or at most its first rows.

    Of the beginning of a file no more than 16 MiB are read, however few rows these are.

    Raises:
        EngineError: bad_data, when the file cannot be read to its end.
    """
    writer = StoreWriter(folder)
    counts = _Counts(name)
    try:
        for done in _process(path, renderer, counts.format, num_workers, most_rows):
            writer.append(done.packed)
            counts.add(done)
            told(done.position)
    except BaseException:
        writer.abandon()
        raise
    writer.close(counts.to_contract(path.name))


@dataclass
class _Batch:
    """Rows to be read, and how far into the file the last of them reaches."""

    rows: list[tuple[int, bytes] | RawRow]
    position: int


@dataclass
class _Done:
    """What became of a batch."""

    packed: Packed
    counts: Counter[str]
    dropped: Counter[str]
    problems: list[RowProblem]
    position: int
    longest: int


@dataclass
class _Counts:
    """Adds up what became of batches."""

    format: FormatName
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    problems: list[RowProblem] = field(default_factory=list)
    longest: int = 0

    def add(self, done: _Done) -> None:
        """Count one batch more."""
        self.counts += done.counts
        self.dropped += done.dropped
        self.problems += done.problems[: MOST_PROBLEMS_KEPT - len(self.problems)]
        self.longest = max(self.longest, done.longest)

    def to_contract(self, name: str) -> FileContract:
        """Return the whole."""
        return FileContract(
            name=name,
            format=self.format,
            longest_tokens=self.longest,
            dropped=dict(self.dropped),
            problems=self.problems,
            **self.counts,
        )


class _Work:
    """Reads and renders batches, in this process or another."""

    def __init__(self, renderer: Renderer, name: FormatName) -> None:
        self._renderer = renderer
        self._name = name

    def __call__(self, batch: _Batch) -> _Done:
        """Return what became of a batch."""
        before = self._count_ends()
        counts: Counter[str] = Counter(num_rows=len(batch.rows))
        dropped: Counter[str] = Counter()
        told: list[RowProblem] = []
        kept: list[Sample] = []
        for item in batch.rows:
            samples, problems = self._render(item)
            if problems:
                counts["num_bad"] += 1
                dropped[problems[0].code] += 1
                told += problems
                continue
            samples = [sample for sample in samples if sample.num_supervised]
            counts["num_kept" if samples else "num_zero_loss"] += 1
            kept += samples
        counts.update(_count_tokens(kept))
        for name, count in self._count_ends().items():
            counts[name] += count - before[name]
        lengths = [len(side.ids) for sample in kept for side in get_sides(sample)]
        return _Done(
            packed=pack_samples(kept),
            counts=counts,
            dropped=dropped,
            problems=told[:MOST_PROBLEMS_KEPT],
            position=batch.position,
            longest=max(lengths, default=0),
        )

    def _render(self, item: Any) -> tuple[list[Sample], list[RowProblem]]:
        number, value, *rest = item
        problems: list[RowProblem] = rest[0] if rest else []
        if isinstance(value, bytes):
            value, problems = parse_object(value, number)
        if problems:
            return [], problems
        row, problems = read_row(value, self._name, number)
        if problems or row is None:
            return [], problems
        try:
            return list(self._renderer.render_row(row, index=number - 1)), []
        except BadRow as bad:
            return [], [problem.model_copy(update={"line": number}) for problem in bad.problems]

    def _count_ends(self) -> dict[str, int]:
        names = ("num_cut", "num_ends_added", "num_without_end")
        return {name: getattr(self._renderer, name) for name in names}


def _count_tokens(samples: list[Sample]) -> dict[str, int]:
    sides = [side for sample in samples for side in get_sides(sample)]
    return {
        "num_samples": len(samples),
        "num_tokens": sum(len(side.ids) for side in sides),
        "num_supervised_tokens": sum(side.num_supervised for side in sides),
    }


def _process(
    path: Path, renderer: Renderer, name: FormatName, num_workers: int, most_rows: int | None
) -> Iterator[_Done]:
    batches = _iter_batches(path) if most_rows is None else _iter_first(path, most_rows)
    if num_workers < 2 or most_rows is not None or path.stat().st_size < _WORTH_PROCESSES_BYTES:
        work = _Work(renderer, name)
        yield from map(work, batches)
        return
    # Not forked: a copy of a process whose libraries have threads may wait for ever.
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_work,
        initargs=(renderer, name),
    )
    waiting: deque[Future[_Done]] = deque()
    try:
        for batch in batches:
            waiting.append(pool.submit(_do_work, batch))
            if len(waiting) > 2 * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_work: _Work | None = None  # in a process of the pool: what it was started for


def _begin_work(renderer: Renderer, name: FormatName) -> None:
    global _work
    _work = _Work(renderer, name)


def _do_work(batch: _Batch) -> _Done:
    assert _work is not None
    return _work(batch)


def _iter_first(path: Path, most_rows: int) -> Iterator[_Batch]:
    """Yield the batches of a file's beginning."""
    left = most_rows
    for batch in _iter_batches(path):
        yield _Batch(batch.rows[:left], batch.position)
        left -= len(batch.rows)
        if left <= 0 or batch.position > _BEGINNING_BYTES:
            return


def _iter_batches(path: Path) -> Iterator[_Batch]:
    """Cut a file's rows into batches; lines stay unread, so that others parse them."""
    position = Position()
    rows: Any = iter_raw_lines(path, position) if is_lines(path) else iter_rows(path, position)
    taken: list[Any] = []
    num_bytes = 0
    for item in rows:
        taken.append(item)
        num_bytes += len(item[1]) if isinstance(item[1], bytes) else 0
        if len(taken) >= _BATCH_ROWS or num_bytes >= _BATCH_BYTES:
            yield _Batch(taken, position.num_bytes)
            taken, num_bytes = [], 0
    if taken:
        yield _Batch(taken, position.num_bytes)
