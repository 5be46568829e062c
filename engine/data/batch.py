"""Collates samples into one row without padding, with what keeps them apart.

T tokens of the row, N samples of a bucket, L tokens of its longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.render import IGNORED, Rendered


@dataclass(frozen=True)
class Layout:
    """Where each sample lies in the row: what attention needs to keep samples apart.

    Samples of similar length share a bucket, so that one call attends over all of them.
    """

    buckets: tuple[Tensor, ...]
    """Per bucket, N x L positions in the row: shared ones, own ones, and filling for short samples."""
    inverse_T: Tensor
    """For each position of the row, its place in the buckets laid end to end."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch on a device."""

    ids_1T: Tensor
    positions_1T: Tensor
    """Count from the start of each sample, shared tokens included."""
    source_S: Tensor
    """Positions whose next token is learnt."""
    target_S: Tensor
    """Those next tokens."""
    layout: Layout
    rows: tuple[int, ...]
    """Dataset rows of the samples, for messages to people."""

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.ids_1T.shape[1]

    @property
    def num_supervised(self) -> int:
        """S."""
        return self.target_S.shape[0]


def count_shared(samples: Sequence[Rendered]) -> int:
    """Count the leading tokens that all samples have in common and that none of them learns.

    Chat templates put the same system turn in front of every sample. Under causal attention its
    hidden states are the same in each, so a row holds it once and every sample attends to it:
    same loss, same gradient, fewer tokens.
    """
    shortest = min(len(sample.ids) for sample in samples)
    first = samples[0]
    for index in range(shortest - 1):
        if any(s.ids[index] != first.ids[index] or s.labels[index] != IGNORED for s in samples):
            return index
    return shortest - 1


def collate(samples: Sequence[Rendered], device: torch.device, *, num_shared: int = 0) -> Batch:
    """Lay samples end to end, behind the `num_shared` tokens they all begin with."""
    ids: list[int] = list(samples[0].ids[:num_shared])
    positions: list[int] = list(range(num_shared))
    sources: list[int] = []
    targets: list[int] = []
    for sample in samples:
        start = len(ids) - num_shared
        ids += sample.ids[num_shared:]
        positions += range(num_shared, len(sample.ids))
        for place, label in enumerate(sample.labels[1:]):
            if label != IGNORED:
                sources.append(place if place < num_shared else start + place)
                targets.append(label)
    return Batch(
        ids_1T=torch.tensor([ids], device=device),
        positions_1T=torch.tensor([positions], device=device),
        source_S=torch.tensor(sources, dtype=torch.long, device=device),
        target_S=torch.tensor(targets, dtype=torch.long, device=device),
        layout=make_layout([len(s.ids) - num_shared for s in samples], device, num_shared),
        rows=tuple(sample.row for sample in samples),
    )


def make_layout(lengths: Sequence[int], device: torch.device, num_shared: int = 0) -> Layout:
    """Group samples so that no bucket is more than half filling.

    `lengths`: each sample's own tokens, laid end to end in this order behind the shared ones.
    """
    starts = [num_shared + sum(lengths[:index]) for index in range(len(lengths))]
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        whole = num_shared + lengths[index]
        if groups and whole <= 2 * (num_shared + lengths[groups[-1][0]]):
            groups[-1].append(index)
        else:
            groups.append([index])
    inverse = torch.empty(num_shared + sum(lengths), dtype=torch.long)
    buckets = []
    base = 0
    for group in groups:
        own = max(lengths[index] for index in group)
        start_N1 = torch.tensor([[starts[index]] for index in group])
        length_N1 = torch.tensor([[lengths[index]] for index in group])
        offset_1L = torch.arange(own)[None]
        real_NL = offset_1L < length_N1
        position_NL = start_N1 + torch.where(real_NL, offset_1L, 0)
        shared_NK = torch.arange(num_shared).expand(len(group), num_shared)
        buckets.append(torch.cat([shared_NK, position_NL], dim=1).to(device))
        width = num_shared + own
        place_NL = base + torch.arange(len(group) * width).view(len(group), width)
        inverse[:num_shared] = place_NL[0, :num_shared]  # the same in every sample: any will do
        inverse[position_NL[real_NL]] = place_NL[:, num_shared:][real_NL]
        base += len(group) * width
    return Layout(buckets=tuple(buckets), inverse_T=inverse.to(device))
