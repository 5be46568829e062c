"""Plans an epoch: which samples go into which step and micro-batch, whole and without padding.

The plan is a pure function of lengths, budgets, seed and epoch. A run that resumes at step k makes
the same plan and goes on at k, so nothing of the data's state needs to be saved. Of each sample it
holds one number: there are tens of millions in a large dataset. N samples.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

MicroBatch = tuple[int, ...]
Step = tuple[MicroBatch, ...]
Indexes = NDArray[np.signedinteger[Any]]
"""Places of samples, four bytes each where these can name all."""


@dataclass(frozen=True)
class Budget:
    """Samples' own tokens in one optimizer step, and of these how many are in memory at once."""

    step_tokens: int
    micro_tokens: int


class Plan(Sequence[Step]):
    """The steps of an epoch; each is cut into micro-batches when it is asked for."""

    def __init__(self, order: Indexes, lengths: Indexes, budget: Budget) -> None:
        """Take the samples in their order, and the lengths of all."""
        self._order, self._lengths = order.data, lengths.data
        self._capacity = budget.micro_tokens
        self._ends = np.fromiter(_fill(self._order, self._lengths, budget.step_tokens), np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        """Cut one step, or several."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        start = int(self._ends[number - 1]) if number else 0
        return _cut(self._order[start : int(self._ends[number])], self._lengths, self._capacity)


def plan_epoch(
    lengths: ArrayLike, budget: Budget, *, seed: int, epoch: int, drawn: Indexes | None = None
) -> Plan:
    """Put every sample into exactly one step; no micro-batch is over its budget.

    Lengths are tokens; a sample that is longer than a budget is alone in its step or micro-batch. A
    pair of answers is one sample and stays together. `drawn` are the epoch's samples where not each
    is seen once (engine/data/mixture.py).
    Samples come in an order drawn from seed and epoch; a step takes them while they fit, and is cut
    into micro-batches first-fit decreasing.
    """
    lengths_N = np.ascontiguousarray(lengths, dtype=np.int32)
    order = np.arange(len(lengths_N)) if drawn is None else drawn
    return Plan(shuffle(order, f"{seed}/{epoch}"), lengths_N, budget)


def split_held_out(num_samples: int, fraction: float, *, seed: int) -> tuple[Indexes, Indexes]:
    """Split sample indexes into those to train on and those to measure with, each in order.

    With a fraction above zero at least one sample is held out, and at least one is trained on.
    """
    num_held = min(num_samples - 1, max(1, round(num_samples * fraction))) if fraction else 0
    held = random.Random(f"{seed}/held-out").sample(range(num_samples), num_held)
    is_held_N = np.zeros(num_samples, dtype=bool)
    is_held_N[held] = True
    return to_indexes(np.flatnonzero(~is_held_N)), to_indexes(np.flatnonzero(is_held_N))


def shuffle(indexes: ArrayLike, name: str) -> Indexes:
    """Return a copy in an order drawn from a name: the one that a list would be shuffled into."""
    shuffled = to_indexes(indexes)
    random.Random(name).shuffle(shuffled.data)  # type: ignore[arg-type]
    return shuffled


def to_indexes(indexes: ArrayLike) -> Indexes:
    """Return a copy of places in as few bytes as hold them."""
    given = np.asarray(indexes)
    is_far = given.size and given.max() > np.iinfo(np.int32).max
    return given.astype(np.int64 if is_far else np.int32)


def _fill(order: Sequence[int], lengths: Sequence[int], capacity: int) -> Iterator[int]:
    """Yield where each step ends in the order."""
    start, used = 0, 0
    for place, index in enumerate(order):
        length = lengths[index]
        if place > start and used + length > capacity:
            yield place
            start, used = place, 0
        used += length
    if len(order):
        yield len(order)


def _cut(taken: Sequence[int], lengths: Sequence[int], capacity: int) -> Step:
    bins: list[list[int]] = []
    rooms: list[int] = []
    for index in sorted(taken, key=lambda i: (-lengths[i], i)):
        for number, room in enumerate(rooms):
            if lengths[index] <= room:
                bins[number].append(index)
                rooms[number] -= lengths[index]
                break
        else:
            bins.append([index])
            rooms.append(capacity - lengths[index])
    return tuple(tuple(one) for one in bins)
