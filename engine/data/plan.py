"""Plans an epoch: which samples go into which step and micro-batch, whole and without padding.

The plan is a pure function of lengths, budgets, seed and epoch. A run that resumes at step k makes
the same plan and goes on at k, so nothing of the data's state needs to be saved.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MicroBatch = tuple[int, ...]
Step = tuple[MicroBatch, ...]


@dataclass(frozen=True)
class Budget:
    """Samples' own tokens in one optimizer step, and of these how many are in memory at once."""

    step_tokens: int
    micro_tokens: int


def plan_epoch(
    lengths: Sequence[int],
    budget: Budget,
    *,
    seed: int,
    epoch: int,
    drawn: Sequence[int] | None = None,
) -> list[Step]:
    """Put every sample into exactly one step; no micro-batch is over its budget.

    Lengths are tokens; a sample that is longer than a budget is alone in its step or micro-batch. A
    pair of answers is one sample and stays together. `drawn` are the epoch's samples where not each
    is seen once (engine/data/mixture.py).
    Samples come in an order drawn from seed and epoch; a step takes them while they fit, and is cut
    into micro-batches first-fit decreasing.
    """
    order = list(range(len(lengths)) if drawn is None else drawn)
    random.Random(f"{seed}/{epoch}").shuffle(order)
    steps = []
    for taken in _fill(order, lengths, budget.step_tokens):
        steps.append(_cut(taken, lengths, budget.micro_tokens))
    return steps


def split_held_out(num_samples: int, fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Split sample indexes into those to train on and those to measure with.

    With a fraction above zero at least one sample is held out, and at least one is trained on.
    """
    num_held = min(num_samples - 1, max(1, round(num_samples * fraction))) if fraction else 0
    held = set(random.Random(f"{seed}/held-out").sample(range(num_samples), num_held))
    return [i for i in range(num_samples) if i not in held], sorted(held)


def _fill(order: Sequence[int], lengths: Sequence[int], capacity: int) -> Iterator[list[int]]:
    taken: list[int] = []
    used = 0
    for index in order:
        if taken and used + lengths[index] > capacity:
            yield taken
            taken, used = [], 0
        taken.append(index)
        used += lengths[index]
    if taken:
        yield taken


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
