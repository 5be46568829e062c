"""Collates samples into one row without padding, with what keeps them apart.

T tokens of the row, N samples of a bucket, L tokens of its longest.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from engine.data.render import IGNORED, Rendered

_MOST_COPIES = 2  # positions of a bucket to those of the row; samples that share none stay below it


@dataclass(frozen=True)
class Layout:
    """Where each sample lies in the row: what attention needs to keep samples apart.

    Samples of similar length share a bucket, so that one call attends over all of them.
    """

    buckets: tuple[Tensor, ...]
    """Per bucket, N x L positions in the row: shared, own, and filling for short samples."""
    kept: tuple[Tensor, ...]
    """Per bucket, the places of its N x L that answer for a position: neither filling nor a second
    copy of what is shared."""
    inverse_T: Tensor
    """For each position of the row, its place in the kept ones of all buckets, laid end to end."""
    group: ProcessGroup | None = None
    """The processes that hold a part of the row each; None where the row is whole."""

    @property
    def num_gathered(self) -> int:
        """Positions of all buckets: what attention holds in one layer."""
        return sum(bucket_NL.numel() for bucket_NL in self.buckets)


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


def find_shared(samples: Sequence[Rendered]) -> tuple[int, ...]:
    """Return the beginning that is worth holding once for all samples that have it.

    Chat templates put the same system turn in front of most samples. Under causal attention its
    hidden states are the same in each, so a row holds it once and each sample attends to it: same
    loss, same gradient, fewer tokens. Of the usual sample's beginnings the one that saves most is
    taken; nothing learnt is ever in it.
    """
    # In the order of their ids, samples with one beginning stand together: the middle one has the
    # beginning that most have.
    reference = sorted(sample.ids for sample in samples)[len(samples) // 2]
    common = sorted((_count_common(sample, reference) for sample in samples), reverse=True)
    saved, length = max((index * length, length) for index, length in enumerate(common))
    return reference[:length] if saved else ()


def shares(sample: Rendered, shared: tuple[int, ...]) -> bool:
    """Say whether a sample begins with the shared tokens, has more, and learns none of them."""
    return bool(shared) and _count_common(sample, shared) == len(shared)


def count_own(sample: Rendered, shared: tuple[int, ...]) -> int:
    """Count the tokens that a sample adds to a row."""
    return len(sample.ids) - (len(shared) if shares(sample, shared) else 0)


def count_room(micro_tokens: int, shared: tuple[int, ...]) -> int:
    """Count the own tokens that fit a row beside the shared ones, which every row holds once.

    A short beginning goes on top, up to an eighth: a step of as many tokens as a micro-batch is not
    cut in two for its sake.
    """
    return min(micro_tokens, micro_tokens + micro_tokens // 8 - len(shared))


def collate(
    samples: Sequence[Rendered], device: torch.device, *, shared: tuple[int, ...] = ()
) -> Batch:
    """Lay samples end to end, behind the `shared` tokens where any of them begins with these."""
    skips = [len(shared) if shares(sample, shared) else 0 for sample in samples]
    num_shared = max(skips)
    ids: list[int] = list(shared[:num_shared])
    positions: list[int] = list(range(num_shared))
    sources: list[int] = []
    targets: list[int] = []
    for sample, skip in zip(samples, skips, strict=True):
        start = len(ids) - skip
        ids += sample.ids[skip:]
        positions += range(skip, len(sample.ids))
        for place, label in enumerate(sample.labels[1:]):
            if label != IGNORED:
                sources.append(place if place < skip else start + place)
                targets.append(label)
    spans = [
        Span(len(sample.ids) - skip, skip) for sample, skip in zip(samples, skips, strict=True)
    ]
    return Batch(
        ids_1T=torch.tensor([ids], device=device),
        positions_1T=torch.tensor([positions], device=device),
        source_S=torch.tensor(sources, dtype=torch.long, device=device),
        target_S=torch.tensor(targets, dtype=torch.long, device=device),
        layout=make_layout(spans, device),
        rows=tuple(sample.row for sample in samples),
    )


def silence(batch: Batch) -> Batch:
    """Return a batch that teaches nothing: for a process that others wait for."""
    none = batch.target_S[:0]
    return replace(batch, source_S=none, target_S=none)


@dataclass(frozen=True)
class Span:
    """A sample's place in a row, in order: its own tokens, behind so many shared ones."""

    num_own: int
    num_shared: int = 0


def make_layout(spans: Sequence[Span], device: torch.device) -> Layout:
    """Group samples so that no bucket is more than half filling, nor large beside the row."""
    num_shared = max(span.num_shared for span in spans)
    ends = list(itertools.accumulate((span.num_own for span in spans), initial=num_shared))
    inverse = torch.empty(ends[-1], dtype=torch.long)
    buckets, kept = [], []
    base = 0
    for group in _group(spans, most=_MOST_COPIES * ends[-1]):
        skip = spans[group[0]].num_shared
        longest = max(spans[index].num_own for index in group)
        start_N1 = torch.tensor([[ends[index]] for index in group])
        length_N1 = torch.tensor([[spans[index].num_own] for index in group])
        offset_1L = torch.arange(longest)[None]
        real_NL = offset_1L < length_N1
        own_NL = start_N1 + torch.where(real_NL, offset_1L, 0)
        shared_NK = torch.arange(skip).expand(len(group), skip)
        first_NK = (torch.arange(len(group)) == 0)[:, None].expand(len(group), skip)
        bucket = torch.cat([shared_NK, own_NL], dim=1)
        places = torch.cat([first_NK, real_NL], dim=1).flatten().nonzero()[:, 0]
        inverse[bucket.flatten()[places]] = torch.arange(base, base + len(places))
        base += len(places)
        buckets.append(bucket.to(device))
        kept.append(places.to(device))
    return Layout(buckets=tuple(buckets), kept=tuple(kept), inverse_T=inverse.to(device))


def _count_common(sample: Rendered, reference: Sequence[int]) -> int:
    """Count the leading tokens of `reference` that a sample has, learns not, and goes beyond."""
    most = min(len(sample.ids) - 1, len(reference))
    for index in range(most):
        if sample.ids[index] != reference[index] or sample.labels[index] != IGNORED:
            return index
    return most


def _group(spans: Sequence[Span], *, most: int) -> list[list[int]]:
    groups: list[list[int]] = []
    for index in sorted(range(len(spans)), key=lambda i: (spans[i].num_shared, spans[i].num_own)):
        span = spans[index]
        first = spans[groups[-1][0]] if groups else None
        length = span.num_own + span.num_shared
        is_close = first is not None and (
            span.num_shared == first.num_shared
            and length <= 2 * (first.num_own + first.num_shared)
            and length * (len(groups[-1]) + 1) <= most
        )
        if is_close:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
