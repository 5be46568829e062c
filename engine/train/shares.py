"""Gives the samples of a step to those who read them: a pure function, the same for all.

The loss of a step is a sum over its supervised tokens, so who reads which sample changes nothing;
a run may go on with other numbers of readers.
"""

from collections.abc import Sequence

from engine.data.lengths import Counts
from engine.data.plan import MicroBatch, Step


def share_out(
    step: Step, lengths: Sequence[int] | Counts, *, num_readers: int, reader: int
) -> tuple[MicroBatch, ...]:
    """Return a reader's micro-batches: as many as every other's, empty ones where none is left.

    Micro-batches stay as they are where there are enough for all, the longest given first and to
    who has least; else samples are dealt anew, one micro-batch for each reader.
    """
    if num_readers == 1:
        return step
    units: list[MicroBatch] = list(step)
    is_dealt = len(units) < num_readers
    if is_dealt:
        units = [(index,) for micro in step for index in micro]
    weights = [sum(int(lengths[index]) for index in unit) for unit in units]
    shares: list[list[MicroBatch]] = [[] for _ in range(num_readers)]
    loads = [0] * num_readers
    for number in sorted(range(len(units)), key=lambda i: (-weights[i], i)):
        least = min(range(num_readers), key=lambda who: (loads[who], who))
        shares[least].append(units[number])
        loads[least] += weights[number]
    if is_dealt:
        shares = [[tuple(i for unit in share for i in unit)] for share in shares]
    most = max(map(len, shares))
    return tuple(shares[reader]) + ((),) * (most - len(shares[reader]))
