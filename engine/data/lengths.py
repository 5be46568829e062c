"""What each sample of a store adds to a row, read from its arrays: no sample is made of them.

The numbers are those of `count_own` (engine/data/batch.py), in four bytes each. Beginnings are read
where some are shared, and prompts of pairs; blocks bound what is in memory. P pairs, Z sides of a
block, K shared tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.batch import count_own
from engine.data.prepare import Samples
from engine.data.samples import Sample
from engine.data.store import Store

_BLOCK_TOKENS = 2**20

Counts = NDArray[np.int32]


def count_all_own(samples: Sequence[Sample], shared: tuple[int, ...]) -> Counts:
    """Return `count_own` of each sample."""
    if isinstance(samples, Samples):
        parts = [_count_store(store, shared) for store in samples.stores]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
    return np.fromiter((count_own(sample, shared) for sample in samples), np.int32)


@dataclass(frozen=True)
class _Sides:
    """Some sides of a store, as they follow one another."""

    ids: NDArray[Any]
    """Of the whole store."""
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]
    learnt: NDArray[np.int64]
    """Where the first learnt token of each is; its length where there is none."""


def _count_store(store: Store, shared: tuple[int, ...]) -> Counts:
    if not shared and not store.is_pairs:
        return store.lengths().astype(np.int32)
    counts = [_count_block(sides, shared, store.is_pairs) for sides in _iter_blocks(store)]
    return np.concatenate(counts) if counts else np.empty(0, dtype=np.int32)


def _iter_blocks(store: Store) -> Iterator[_Sides]:
    """Yield all sides, some at a time; a pair's are not parted."""
    arrays = store.arrays
    id_ends, run_ends = arrays["id_ends"], arrays["run_ends"]
    unit = 2 if store.is_pairs else 1
    start = 0
    while start < store.num_sides:
        before = int(id_ends[start - 1]) if start else 0
        fitting = int(np.searchsorted(id_ends, before + _BLOCK_TOKENS, side="right"))
        end = min(store.num_sides, max(start + unit, fitting - fitting % unit))
        begins, lengths = _list_parts(id_ends, start, end)
        run_begins, num_runs = _list_parts(run_ends, start, end)
        learnt = lengths.copy()
        has_runs = num_runs > 0
        learnt[has_runs] = arrays["runs"][run_begins[has_runs], 0]
        yield _Sides(arrays["ids"], begins, lengths, learnt)
        start = end


def _list_parts(
    ends: NDArray[np.int64], start: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the parts of some sides begin, and how long they are."""
    begins = np.empty(end - start, dtype=np.int64)
    begins[0] = ends[start - 1] if start else 0
    begins[1:] = ends[start : end - 1]
    return begins, ends[start:end] - begins


def _count_block(sides: _Sides, shared: tuple[int, ...], is_pairs: bool) -> Counts:
    skipped_Z = np.where(_find_sharers(sides, shared), len(shared), 0)
    own_Z = sides.lengths - skipped_Z
    if not is_pairs:
        return own_Z.astype(np.int32)
    lent_P = np.maximum(0, _count_prompts(sides) - skipped_Z[::2])
    lent_P[skipped_Z[::2] != skipped_Z[1::2]] = 0
    return (own_Z[::2] + own_Z[1::2] - lent_P).astype(np.int32)


def _find_sharers(sides: _Sides, shared: tuple[int, ...]) -> NDArray[np.bool_]:
    """Say which begin with the shared tokens, have more, and learn none of them."""
    shares_Z = (sides.lengths > len(shared)) & (sides.learnt >= len(shared)) & bool(shared)
    places = sides.begins[shares_Z, None] + np.arange(len(shared))
    shares_Z[shares_Z] = (sides.ids[places] == np.array(shared, dtype=np.int32)).all(axis=1)
    return shares_Z


def _count_prompts(sides: _Sides) -> NDArray[np.int64]:
    """Count, of each pair, the tokens that both begin with and neither learns; one is left over."""
    most_Z = np.minimum(sides.lengths - 1, sides.learnt)
    num_P = np.maximum(0, np.minimum(most_Z[::2], most_Z[1::2]))
    pair_of = np.repeat(np.arange(len(num_P)), num_P)
    within = np.arange(len(pair_of)) - np.repeat(np.cumsum(num_P) - num_P, num_P)
    first, second = (sides.ids[sides.begins[side::2][pair_of] + within] for side in (0, 1))
    apart = np.flatnonzero(first != second)
    pairs, firsts = np.unique(pair_of[apart], return_index=True)
    num_P[pairs] = within[apart[firsts]]
    return num_P
