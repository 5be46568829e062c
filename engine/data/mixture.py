"""Draws an epoch of a mixture: each source's samples as often as its weight says.

A pure function of sizes, weights, seed and epoch, so that a resumed run draws the same. A source's
samples are an endless row of shuffled passes; an epoch takes the next `weight` passes of it. So a
weight of 0.5 shows the other half in the next epoch, and nothing is seen twice before all is once.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from engine.data.plan import Indexes, shuffle, to_indexes


def draw_epoch(
    source_of: ArrayLike, weights: Sequence[float], *, seed: int, epoch: int
) -> Indexes | None:
    """Return the indexes of the samples of an epoch, by source; None where it is each of them once.

    `source_of` is the source of each sample, `weights` are the sources' passes in one epoch.
    """
    if all(weight == 1.0 for weight in weights):
        return None
    drawn: list[Indexes] = []
    for source, weight in enumerate(weights):
        own = to_indexes(np.flatnonzero(np.asarray(source_of) == source))
        if own.size:
            start = _count_drawn(weight, len(own), epoch)
            stop = max(start + 1, _count_drawn(weight, len(own), epoch + 1))
            drawn += _take(own, start, stop, name=f"{seed}/{source}")
    return np.concatenate(drawn)


def _count_drawn(weight: float, num_own: int, epoch: int) -> int:
    return math.ceil(weight * num_own * epoch - 1e-9)


def _take(own: Indexes, start: int, stop: int, *, name: str) -> list[Indexes]:
    """Take positions of the endless row of passes, each shuffled by its own number."""
    taken = []
    for number in range(start // len(own), (stop - 1) // len(own) + 1):
        begin = number * len(own)
        taken.append(shuffle(own, f"{name}/{number}")[max(0, start - begin) : stop - begin])
    return taken
