"""Collates samples into one row without padding, with what keeps them apart.

T tokens of the row, N samples of a bucket, L tokens of its longest.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from engine.data.samples import IGNORED, Rendered, RenderedPair, Sample, get_sides

_MOST_COMPARED = 4096  # samples that a beginning is sought in; they stay unread else
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
    units_U5: Tensor
    """The same on a processor, by samples: number of shared positions (the row's first), start and
    number of those borrowed, start and number of a sample's own, which see all three. What is
    shared is a unit of its own."""
    group: ProcessGroup | None = None
    """The processes whose attention changes tokens for heads; None where it sees the whole row."""

    @property
    def num_gathered(self) -> int:
        """Positions of all buckets: what attention holds in one layer."""
        return sum(bucket_NL.numel() for bucket_NL in self.buckets)


@dataclass(frozen=True)
class Pairs:
    """Which supervised positions belong to which answer of which pair; P pairs."""

    side_S: Tensor
    """Per supervised position 2 x pair + side, where side 0 is chosen and 1 is rejected."""
    last_P2: Tensor
    """Position in the row of the last token of chosen and rejected."""

    @property
    def num_pairs(self) -> int:
        """P."""
        return self.last_P2.shape[0]


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
    weight_S: Tensor | None = None
    """How much each target counts in the loss, float32; None where all count 1."""
    pairs: Pairs | None = None
    """None where the samples are no pairs."""
    sources: tuple[int, ...] = ()
    """Of each row: the index of its source."""
    sharers: ProcessGroup | None = None
    """The processes that have a part of the row each: ids, targets and weights are of this one's
    part. None where the row is whole."""

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.ids_1T.shape[1]

    @property
    def num_supervised(self) -> int:
        """S."""
        return self.target_S.shape[0]

    @property
    def supervised_weight(self) -> float:
        """The weights of the targets, summed: what a sum of losses is divided by."""
        return float(self.num_supervised if self.weight_S is None else self.weight_S.sum())


def find_shared(samples: Sequence[Sample]) -> tuple[int, ...]:
    """Return the beginning that is worth holding once for all samples that have it.

    Chat templates put the same system turn in front of most samples. Under causal attention its
    hidden states are the same in each, so a row holds it once and each sample attends to it: same
    loss, same gradient, fewer tokens. Of the usual sample's beginnings the one that saves most is
    taken; nothing learnt is ever in it.
    """
    # In the order of their ids, samples with one beginning stand together: the middle one has the
    # beginning that most have.
    stride = max(1, len(samples) // _MOST_COMPARED)
    firsts = [get_sides(samples[index])[0] for index in range(0, len(samples), stride)]
    reference = sorted(sample.ids for sample in firsts)[len(firsts) // 2]
    common = sorted((_count_common(sample, reference) for sample in firsts), reverse=True)
    saved, length = max((index * length, length) for index, length in enumerate(common))
    return reference[:length] if saved else ()


def shares(sample: Rendered, shared: tuple[int, ...]) -> bool:
    """Say whether a sample begins with the shared tokens, has more, and learns none of them."""
    return bool(shared) and _count_common(sample, shared) == len(shared)


def count_own(sample: Sample, shared: tuple[int, ...]) -> int:
    """Count the tokens that a sample adds to a row; a pair's prompt counts once."""
    if isinstance(sample, RenderedPair):
        sides = sum(count_own(side, shared) for side in sample.sides)
        return sides - _count_lent(sample, shared)
    return len(sample.ids) - (len(shared) if shares(sample, shared) else 0)


def count_attended(sample: Sample, shared: tuple[int, ...]) -> int:
    """Count the pairs of a sample's own token and one that it sees, itself among them."""
    total, lent = 0, 0
    for side in get_sides(sample):
        length = len(side.ids)
        before = (len(shared) if shares(side, shared) else 0) + lent
        own = length - before
        total += own * before + own * (own + 1) // 2
        lent = _count_lent(sample, shared) if isinstance(sample, RenderedPair) else 0
    return total


def count_room(micro_tokens: int, shared: tuple[int, ...]) -> int:
    """Count the own tokens that fit a row beside the shared ones, which every row holds once.

    A short beginning goes on top, up to an eighth: a step of as many tokens as a micro-batch is not
    cut in two for its sake.
    """
    return min(micro_tokens, micro_tokens + micro_tokens // 8 - len(shared))


def collate(
    samples: Sequence[Sample], device: torch.device, *, shared: tuple[int, ...] = ()
) -> Batch:
    """Lay samples end to end, behind the `shared` tokens where any of them begins with these.

    The sides of a pair lie beside one another; the second goes on from the first one's prompt. A
    row holds pairs or single samples, never both.
    """
    if len({isinstance(sample, RenderedPair) for sample in samples}) > 1:
        raise ValueError("pairs and single samples in one row")
    is_shared = any(shares(side, shared) for sample in samples for side in get_sides(sample))
    row = _RowBuilder(shared if is_shared else ())
    for sample in samples:
        if isinstance(sample, RenderedPair):
            row.add(sample.chosen)
            row.add(sample.rejected, lent=_count_lent(sample, shared))
        else:
            row.add(sample)
    return row.build(samples, device)


class _RowBuilder:
    """The row as it grows, sample by sample."""

    def __init__(self, shared: tuple[int, ...]) -> None:
        self._shared = shared
        self._ids = list(shared)
        self._positions = list(range(len(shared)))
        self._sources: list[int] = []
        self._targets: list[int] = []
        self._weights: list[float] = []
        self._is_weighted = False
        self._owners: list[int] = []
        self._spans: list[Span] = []
        self._lasts: list[int] = []
        self._before = 0
        """Where the own tokens of the sample before begin."""

    def add(self, sample: Rendered, *, lent: int = 0) -> None:
        """Append a sample; `lent` tokens behind the shared ones are those of the one before."""
        skip = len(self._shared) if shares(sample, self._shared) else 0
        own = len(self._ids)
        self._ids += sample.ids[skip + lent :]
        self._positions += range(skip + lent, len(sample.ids))
        for place, label in enumerate(sample.labels[1:]):
            if label == IGNORED:
                continue
            if place < skip:
                self._sources.append(place)
            elif place < skip + lent:
                self._sources.append(self._before + place - skip)
            else:
                self._sources.append(own + place - skip - lent)
            self._targets.append(label)
            self._weights.append(1.0 if sample.weights is None else sample.weights[place + 1])
            self._owners.append(len(self._spans))
        self._is_weighted |= sample.weights is not None
        self._spans.append(Span(len(sample.ids) - skip - lent, skip, (self._before, lent)))
        self._lasts.append(len(self._ids) - 1)
        self._before = own

    def build(self, samples: Sequence[Sample], device: torch.device) -> Batch:
        """Return the row as tensors."""

        def to_longs(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        pairs = None
        if isinstance(samples[0], RenderedPair):
            pairs = Pairs(to_longs(self._owners), to_longs(self._lasts).view(-1, 2))
        weights = torch.tensor(self._weights, device=device) if self._is_weighted else None
        return Batch(
            ids_1T=to_longs(self._ids)[None],
            positions_1T=to_longs(self._positions)[None],
            source_S=to_longs(self._sources),
            target_S=to_longs(self._targets),
            layout=make_layout(self._spans, device),
            rows=tuple(sample.row for sample in samples),
            weight_S=weights,
            pairs=pairs,
            sources=tuple(sample.source for sample in samples),
        )


def silence(batch: Batch) -> Batch:
    """Return a batch that teaches nothing: for a process that others wait for."""
    none = batch.target_S[:0]
    weights = None if batch.weight_S is None else batch.weight_S[:0]
    pairs = None if batch.pairs is None else Pairs(none, batch.pairs.last_P2[:0])
    return replace(
        batch,
        source_S=none,
        target_S=none,
        weight_S=weights,
        pairs=pairs,
        rows=() if pairs else batch.rows,
        sources=() if pairs else batch.sources,
    )


@dataclass(frozen=True)
class Span:
    """A sample's place in a row, in order: its own tokens, behind so many shared ones."""

    num_own: int
    num_shared: int = 0
    borrowed: tuple[int, int] = (0, 0)
    """Start in the row, and number, of another sample's tokens that stand between the two."""

    @property
    def num_behind(self) -> int:
        """Tokens behind the shared ones."""
        return self.borrowed[1] + self.num_own


def make_layout(spans: Sequence[Span], device: torch.device) -> Layout:
    """Group samples so that no bucket is more than half filling, nor large beside the row."""
    num_shared = max(span.num_shared for span in spans)
    ends = list(itertools.accumulate((span.num_own for span in spans), initial=num_shared))
    inverse = torch.empty(ends[-1], dtype=torch.long)
    buckets, kept = [], []
    base = 0
    for group in _group(spans, most=_MOST_COPIES * ends[-1]):
        skip = spans[group[0]].num_shared
        longest = max(spans[index].num_behind for index in group)
        start_N1 = torch.tensor([[ends[index]] for index in group])
        length_N1 = torch.tensor([[spans[index].num_behind] for index in group])
        borrowed_N1 = torch.tensor([[spans[index].borrowed[0]] for index in group])
        lent_N1 = torch.tensor([[spans[index].borrowed[1]] for index in group])
        offset_1L = torch.arange(longest)[None]
        is_lent_NL = offset_1L < lent_N1
        real_NL = (offset_1L < length_N1) & ~is_lent_NL
        own_NL = start_N1 + torch.where(real_NL, offset_1L - lent_N1, 0)
        own_NL = torch.where(is_lent_NL, borrowed_N1 + offset_1L, own_NL)
        shared_NK = torch.arange(skip).expand(len(group), skip)
        first_NK = (torch.arange(len(group)) == 0)[:, None].expand(len(group), skip)
        bucket = torch.cat([shared_NK, own_NL], dim=1)
        places = torch.cat([first_NK, real_NL], dim=1).flatten().nonzero()[:, 0]
        inverse[bucket.flatten()[places]] = torch.arange(base, base + len(places))
        base += len(places)
        buckets.append(bucket.to(device))
        kept.append(places.to(device))
    units = [(0, 0, 0, 0, num_shared)] if num_shared else []
    for start, span in zip(ends, spans, strict=False):
        units.append((span.num_shared, *span.borrowed, start, span.num_own))
    return Layout(tuple(buckets), tuple(kept), inverse.to(device), torch.tensor(units))


def _count_lent(pair: RenderedPair, shared: tuple[int, ...]) -> int:
    """Count the prompt's tokens behind the shared ones, which the second side takes of the first.

    The first keeps one token of its own at least, and so does the second.
    """
    if shares(pair.chosen, shared) != shares(pair.rejected, shared):
        return 0
    return max(0, pair.num_prompt - (len(shared) if shares(pair.chosen, shared) else 0))


def _count_common(sample: Rendered, reference: Sequence[int]) -> int:
    """Count the leading tokens of `reference` that a sample has, learns not, and goes beyond."""
    most = min(len(sample.ids) - 1, len(reference))
    for index in range(most):
        if sample.ids[index] != reference[index] or sample.labels[index] != IGNORED:
            return index
    return most


def _group(spans: Sequence[Span], *, most: int) -> list[list[int]]:
    groups: list[list[int]] = []
    for index in sorted(range(len(spans)), key=lambda i: (spans[i].num_shared, spans[i].num_behind)):
        span = spans[index]
        first = spans[groups[-1][0]] if groups else None
        length = span.num_behind + span.num_shared
        is_close = first is not None and (
            span.num_shared == first.num_shared
            and length <= 2 * (first.num_behind + first.num_shared)
            and length * (len(groups[-1]) + 1) <= most
        )
        if is_close:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
