"""Rendered samples on disk, memory-mapped: what was tokenized once is read like a list.

A store is a folder of flat arrays. Labels and weights are kept as runs, since most tokens teach
themselves with weight 1 or nothing: a run is start, end and label, -1 where it teaches its own ids.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.data.samples import IGNORED, Rendered, RenderedPair, Sample, get_sides
from engine.specs.contract import FileContract

VERSION = 1  # raise it when the layout or the rendering changes: stores are then made anew
_OWN_IDS = -1
_BLOCK_BYTES = 2**24
# Name -> type and columns. The `ends` are running totals, so that an item's part can be found.
_ARRAYS: dict[str, tuple[str, int]] = {
    "ids": ("<i4", 1),
    "id_ends": ("<i8", 1),
    "rows": ("<i8", 1),
    "runs": ("<i4", 3),
    "run_weights": ("<f4", 1),
    "run_ends": ("<i8", 1),
}


class StoreBroken(Exception):
    """A folder is no whole store: it is made anew."""


@dataclass
class Packed:
    """Sides of samples as arrays, ready to be appended; `ends` count within."""

    arrays: dict[str, NDArray[Any]]
    num_sides: int
    is_pairs: bool


def pack_samples(samples: Sequence[Sample]) -> Packed:
    """Turn samples into arrays."""
    sides = [side for sample in samples for side in get_sides(sample)]
    runs = [_find_runs(side) for side in sides]
    triples = [triple for one, _ in runs for triple in one]
    return Packed(
        arrays={
            "ids": np.array([index for side in sides for index in side.ids], dtype="<i4"),
            "id_ends": np.cumsum([len(side.ids) for side in sides], dtype="<i8"),
            "rows": np.array([side.row for side in sides], dtype="<i8"),
            "runs": np.array(triples, dtype="<i4").reshape(-1, 3),
            "run_weights": np.array([w for _, one in runs for w in one], dtype="<f4"),
            "run_ends": np.cumsum([len(one) for one, _ in runs], dtype="<i8"),
        },
        num_sides=len(sides),
        is_pairs=bool(samples) and isinstance(samples[0], RenderedPair),
    )


class StoreWriter:
    """Appends packed samples to the files of a new store."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {
            name: _array_path(folder, name).open("wb") for name in _ARRAYS
        }
        self._checks = dict.fromkeys(_ARRAYS, 0)
        self._num_ids = self._num_runs = self._num_sides = 0
        self._is_pairs = False

    def append(self, packed: Packed) -> None:
        """Write samples behind those that are there."""
        shifts = {"id_ends": self._num_ids, "run_ends": self._num_runs}
        for name, array in packed.arrays.items():
            content = (array + shifts[name] if name in shifts else array).tobytes()
            self._checks[name] = zlib.crc32(content, self._checks[name])
            self._files[name].write(content)
        self._num_ids += len(packed.arrays["ids"])
        self._num_runs += len(packed.arrays["runs"])
        self._num_sides += packed.num_sides
        self._is_pairs |= packed.is_pairs

    def close(self, contract: FileContract) -> None:
        """Write what makes the folder a store, last."""
        for file in self._files.values():
            file.close()
        meta = {
            "version": VERSION,
            "is_pairs": self._is_pairs,
            "num_sides": self._num_sides,
            "checks": self._checks,
            "sizes": {name: _array_path(self._folder, name).stat().st_size for name in _ARRAYS},
            "contract": contract.model_dump(mode="json"),
        }
        (self._folder / "meta.json").write_text(json.dumps(meta))

    def abandon(self) -> None:
        """Close the files of a store that will not be."""
        for file in self._files.values():
            file.close()


@dataclass
class Store:
    """Samples of one file."""

    folder: Path
    contract: FileContract
    is_pairs: bool
    num_sides: int
    arrays: dict[str, NDArray[Any]] = field(repr=False)
    """By name, as the module says."""

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Map a store's files, after proving that they are what was written.

        Raises:
            StoreBroken: they are not.
        """
        try:
            meta = json.loads((folder / "meta.json").read_text())
            if meta["version"] != VERSION:
                raise StoreBroken("of another version")
            for name in _ARRAYS:
                _check_array(folder, name, meta)
            arrays = {name: _map_array(folder, name) for name in _ARRAYS}
            contract = FileContract.model_validate(meta["contract"])
            return cls(folder, contract, meta["is_pairs"], meta["num_sides"], arrays)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise StoreBroken(str(error)) from error

    def __len__(self) -> int:
        """Count its samples; a pair is one."""
        return self.num_sides // 2 if self.is_pairs else self.num_sides

    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each sample, both sides of a pair."""
        lengths = np.diff(self.arrays["id_ends"], prepend=0)
        return lengths.reshape(-1, 2).sum(axis=1) if self.is_pairs else lengths

    def get(self, index: int, *, source: int) -> Sample:
        """Return one sample."""
        if self.is_pairs:
            return RenderedPair(*(self._get_side(2 * index + n, source) for n in (0, 1)))
        return self._get_side(index, source)

    def _get_side(self, index: int, source: int) -> Rendered:
        ids = self._slice("ids", "id_ends", index).tolist()
        runs = self._slice("runs", "run_ends", index).tolist()
        run_weights = self._slice("run_weights", "run_ends", index).tolist()
        labels = [IGNORED] * len(ids)
        weights = [0.0] * len(ids)
        for (start, end, label), weight in zip(runs, run_weights, strict=True):
            labels[start:end] = ids[start:end] if label == _OWN_IDS else [label] * (end - start)
            weights[start:end] = [weight] * (end - start)
        is_weighted = any(weight != 1.0 for weight in run_weights)
        return Rendered(
            ids=tuple(ids),
            labels=tuple(labels),
            row=int(self.arrays["rows"][index]),
            weights=tuple(weights) if is_weighted else None,
            source=source,
        )

    def _slice(self, name: str, ends: str, index: int) -> NDArray[Any]:
        bounds = self.arrays[ends]
        return self.arrays[name][int(bounds[index - 1]) if index else 0 : int(bounds[index])]


def _find_runs(side: Rendered) -> tuple[list[tuple[int, int, int]], list[float]]:
    """Return the runs of learnt tokens, and the weight of each."""
    ids = np.array(side.ids, dtype=np.int64)
    labels = np.array(side.labels, dtype=np.int64)
    weights = np.ones(len(ids)) if side.weights is None else np.array(side.weights)
    if not len(ids):
        return [], []
    # A token that teaches another id than its own is a run of its own.
    kind = np.where(labels == IGNORED, -2, np.where(labels == ids, _OWN_IDS, labels))
    change = (kind[1:] != kind[:-1]) | (weights[1:] != weights[:-1])
    starts = [0, *(np.flatnonzero(change) + 1).tolist()]
    runs, run_weights = [], []
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        if kind[start] != -2:
            runs.append((start, end, int(kind[start])))
            run_weights.append(float(weights[start]))
    return runs, run_weights


def _array_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.bin"


def _map_array(folder: Path, name: str) -> NDArray[Any]:
    kind, columns = _ARRAYS[name]
    path = _array_path(folder, name)
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        array = np.empty(0, dtype=kind)
    else:
        array = np.memmap(path, dtype=kind, mode="r")
    return array.reshape(-1, columns) if columns > 1 else array


def _check_array(folder: Path, name: str, meta: dict[str, Any]) -> None:
    path = _array_path(folder, name)
    if path.stat().st_size != meta["sizes"][name]:
        raise StoreBroken(f"{path.name} has another size")
    check = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            check = zlib.crc32(block, check)
    if check != meta["checks"][name]:
        raise StoreBroken(f"{path.name} has other bytes")
