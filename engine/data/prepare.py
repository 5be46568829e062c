"""From sources to samples: find the files, render what no cache holds, tell what became of rows."""

import bisect
import hashlib
import itertools
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, overload

import numpy as np
from numpy.typing import NDArray

from engine.data.build import build_store, find_format
from engine.data.cache import get_store, make_key
from engine.data.contract import check_contract, format_table, write_contract
from engine.data.files import find_files
from engine.data.mixture import draw_epoch
from engine.data.plan import Indexes
from engine.data.render import Renderer
from engine.data.samples import Rendered, Sample
from engine.data.store import Store
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.specs.contract import DataContract, FileContract, SourceContract
from engine.specs.sources import Source
from engine.status import Reason

_TELL_EVERY_S = 0.5
_MOST_WORKERS = 16
_FEWEST_SAMPLES = 2


@dataclass(frozen=True)
class Located:
    """A source whose files are on this machine."""

    source: Source
    path: Path
    """The folder or file that it was fetched to."""


@dataclass(frozen=True)
class Preparation:
    """Where and how samples are prepared."""

    cache_dir: Path
    """Holds rendered files for whoever wants them again."""
    run_dir: Path | None = None
    """Gets the data contract; None writes none."""
    max_bad_fraction: float = 0.0
    """Share of a source's rows that may be bad and are left out."""
    num_workers: int = 0
    """Processes that render; 0 takes as many as there are processors."""
    most_rows: int | None = None
    """Rows of each file that are read, to look at them; nothing is kept for others then."""


class Samples(Sequence[Sample]):
    """All samples of a run, read from disk as they are asked for; those of a source lie together."""

    def __init__(self, stores: Sequence[tuple[int, Store]], contract: DataContract) -> None:
        """`stores` with the index of the source of each."""
        self._stores = list(stores)
        self._ends = list(itertools.accumulate(len(store) for _, store in stores))
        self.contract = contract

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Read one sample, or several."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self._ends, index)
        source, store = self._stores[number]
        return store.get(index - (self._ends[number - 1] if number else 0), source=source)

    def __iter__(self) -> Iterator[Sample]:
        for source, store in self._stores:
            for index in range(len(store)):
                yield store.get(index, source=source)

    @property
    def stores(self) -> list[Store]:
        """The stores, in the order of their samples."""
        return [store for _, store in self._stores]

    @property
    def is_pairs(self) -> bool:
        """Say whether they are preference pairs."""
        return any(store.is_pairs for _, store in self._stores)

    @property
    def weights(self) -> list[float]:
        """The passes of each source in one epoch."""
        return [source.weight for source in self.contract.sources]

    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each sample, read from the index alone; a pair's are both sides'."""
        parts = [store.lengths() for _, store in self._stores]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def source_of(self) -> NDArray[np.int16]:
        """Return the source of each sample."""
        parts = [np.full(len(store), source, np.int16) for source, store in self._stores]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int16)

    def draw(self, among: Indexes, *, seed: int, epoch: int) -> Indexes | None:
        """Draw an epoch of the mixture from some of the samples, such as those not held out.

        Returns places in `among`, for `plan_epoch(..., drawn=)`; None where each is seen once.
        """
        return draw_epoch(self.source_of()[among], self.weights, seed=seed, epoch=epoch)

    def iter_first(self, count: int) -> Iterator[tuple[str, Sample]]:
        """Yield the first samples of each file with its name."""
        names = [file.name for source in self.contract.sources for file in source.files]
        for name, (source, store) in zip(names, self._stores, strict=True):
            for index in range(min(count, len(store))):
                yield name, store.get(index, source=source)

    def check_use(self) -> None:
        """Refuse what cannot be trained on.

        Raises:
            EngineError: bad_data, for pairs among others, or fewer than two samples.
        """
        if len({store.is_pairs for _, store in self._stores if len(store)}) > 1:
            raise EngineError(
                Reason.BAD_DATA,
                "dataset: some files hold preference pairs and others do not: train on them in "
                "two runs.",
            )
        if len(self) < _FEWEST_SAMPLES:
            raise EngineError(
                Reason.BAD_DATA,
                f"dataset: {len(self)} rows have an answer within max_length and two are the "
                "least: raise max_length or add rows.",
            )

    def to_singles(self) -> Sequence[Rendered]:
        """Return itself, as what a loss of single samples takes.

        Raises:
            EngineError: bad_data, when it holds preference pairs.
        """
        if self.is_pairs:
            raise EngineError(
                Reason.BAD_DATA,
                "dataset: it holds preference pairs, which this training cannot learn from: choose "
                "one that does, or bring conversations.",
            )
        return cast(Sequence[Rendered], self)

    def digest(self) -> str:
        """Name the samples and their shares: a checkpoint goes on only under the same."""
        names = [f"{source}/{store.folder.name}" for source, store in self._stores]
        return hashlib.sha256(repr((names, self.weights)).encode()).hexdigest()


def prepare_samples(
    sources: Sequence[Located], renderer: Renderer, how: Preparation, emitter: Emitter
) -> Samples:
    """Read and render all rows of all sources; print and write what became of them.

    Rows of which nothing is learnt are left out and counted; so are bad ones, up to the share that
    is allowed.

    Raises:
        EngineError: bad_data, when there are no rows, too many bad ones, or fewer than two good.
    """
    samples = read_samples(sources, renderer, how, emitter)
    print(format_table(samples.contract), flush=True)
    if how.run_dir is not None:
        write_contract(samples.contract, how.run_dir, emitter)
    check_contract(samples.contract)
    samples.check_use()
    return samples


def read_samples(
    sources: Sequence[Located], renderer: Renderer, how: Preparation, emitter: Emitter
) -> Samples:
    """Read and render all rows, however bad they are.

    Raises:
        EngineError: bad_data, when a file cannot be found, or not read to its end.
    """
    files = [
        (number, found)
        for number, one in enumerate(sources)
        for found in find_files(one.path, split=one.source.split, patterns=one.source.files)
    ]
    bar = _Bar(emitter, [path for _, path in files])
    stores = [
        (number, _prepare_file(path, sources[number], renderer, how, bar)) for number, path in files
    ]
    contracts: list[list[FileContract]] = [[] for _ in sources]
    for (number, path), (_, store) in zip(files, stores, strict=True):
        name = _name(path, sources[number].path)
        contracts[number].append(store.contract.model_copy(update={"name": name}))
    contract = DataContract(
        sources=[
            SourceContract(name=one.source.repo, weight=one.source.weight, files=found)
            for one, found in zip(sources, contracts, strict=True)
        ],
        max_length=renderer.max_length,
        max_bad_fraction=how.max_bad_fraction,
    )
    return Samples(stores, contract)


def _prepare_file(
    path: Path, located: Located, renderer: Renderer, how: Preparation, bar: "_Bar"
) -> Store:
    name = find_format(path, located.source.format)

    def make(folder: Path) -> None:
        workers = how.num_workers or min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
        build_store(
            path,
            folder,
            renderer,
            name=name,
            told=bar.tell,
            num_workers=workers,
            most_rows=how.most_rows,
        )

    key = make_key(path, name, renderer) if how.most_rows is None else uuid.uuid4().hex
    store = get_store(how.cache_dir, key, make)
    bar.finish(path)
    return store


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if root.is_dir() else path.name


class _Bar:
    """Reports how many bytes of all files are rendered."""

    def __init__(self, emitter: Emitter, files: Sequence[Path]) -> None:
        self._emitter = emitter
        self._sizes = {path: path.stat().st_size for path in files}
        self._total = sum(self._sizes[path] for path in files)
        self._before = 0
        self._told = time.monotonic()

    def tell(self, num_bytes: int) -> None:
        """Report so many bytes of the file at hand, twice a second at most."""
        if time.monotonic() - self._told > _TELL_EVERY_S:
            self._told = time.monotonic()
            done = min(self._total, self._before + num_bytes)
            self._emitter.progress("prepare", done, self._total, unit="byte")

    def finish(self, path: Path) -> None:
        """Report a whole file."""
        self._before += self._sizes[path]
        self._emitter.progress("prepare", self._before, self._total, unit="byte")
