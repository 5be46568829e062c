"""Draws an epoch of a mixture: each source's samples as often as its weight says.

A pure function of sizes, weights, seed and epoch, so that a resumed run draws the same. A source's
samples are an endless row of shuffled passes; an epoch takes the next `weight` passes of it. So a
weight of 0.5 shows the other half in the next epoch, and nothing is seen twice before all is once.
"""

import math
import random
from collections.abc import Sequence


def draw_epoch(
    source_of: Sequence[int], weights: Sequence[float], *, seed: int, epoch: int
) -> list[int] | None:
    """Return the indexes of the samples of an epoch, by source; None where it is each of them once.

    `source_of` is the source of each sample, `weights` are the sources' passes in one epoch.
    """
    if all(weight == 1.0 for weight in weights):
        return None
    members: list[list[int]] = [[] for _ in weights]
    for index, source in enumerate(source_of):
        members[source].append(index)
    drawn: list[int] = []
    for source, (weight, own) in enumerate(zip(weights, members, strict=True)):
        if own:
            start = _count_drawn(weight, len(own), epoch)
            stop = max(start + 1, _count_drawn(weight, len(own), epoch + 1))
            drawn += _take(own, start, stop, name=f"{seed}/{source}")
    return drawn


def _count_drawn(weight: float, num_own: int, epoch: int) -> int:
    return math.ceil(weight * num_own * epoch - 1e-9)


def _take(own: list[int], start: int, stop: int, *, name: str) -> list[int]:
    """Take positions of the endless row of passes, each shuffled by its own number."""
    taken: list[int] = []
    for number in range(start // len(own), (stop - 1) // len(own) + 1):
        one = list(own)
        random.Random(f"{name}/{number}").shuffle(one)
        begin = number * len(own)
        taken += one[max(0, start - begin) : stop - begin]
    return taken
