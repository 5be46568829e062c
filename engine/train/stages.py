"""What each stage of training learns: a loss, and what a step's sum of it is divided by.

Beside the loss a stage may measure: sums over the same samples, divided by the same count, so that
how these are packed, accumulated or spread changes no measure either.
T positions of a row (or of a process's part of it), E hidden width, V vocabulary, S supervised
positions, P pairs, M measures.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.data.batch import Batch
from engine.data.samples import Sample, get_sides
from engine.models.decoder import Bend
from engine.specs import TrainSpec
from engine.train.losses import dpo_loss, head_loss_sum, reward_loss, target_logps

Key = tuple[int, int]
"""A sample's source and row."""

_MOST_NATS = 700.0  # whose exponential is a number still


class Sums(NamedTuple):
    """What a stage finds of a batch."""

    loss: Tensor
    """Sum of the losses, in nats and float32."""
    measures_M: Tensor
    """Sum of each of the stage's measures, float32, without gradient."""


class Stage(nn.Module):
    """Every supervised token, each with its weight: SFT and pretraining."""

    bend = Bend()
    """What the model makes of the products of its head."""

    needs_reference = False
    measures: tuple[str, ...] = ("accuracy",)
    """Names of the M measures, as they stand in metric events. Here the share of targets that the
    model holds likeliest."""

    def count(self, samples: Sequence[Sample]) -> float:
        """Return what the losses of these samples are divided by."""
        return sum(side.supervised_weight for sample in samples for side in get_sides(sample))

    def sum_up(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Sums:
        """Return the sums of a batch's losses and measures."""
        hidden_SE = hidden_TE[batch.source_S]
        loss, right = head_loss_sum(hidden_SE, head_VE, batch.target_S, batch.weight_S, self.bend)
        return Sums(loss, right[None])

    def derive(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return what follows from the mean loss and measures of many batches."""
        return {"perplexity": math.exp(min(means["loss"], _MOST_NATS))}


class PairStage(Stage):
    """One loss for each pair of answers, by a number that each answer has.

    `accuracy` is the share of pairs whose chosen answer has the higher one, where equals count
    half, and `margin` how much higher it is.
    """

    has_mean = False
    """Whether the mean over both answers is told too."""

    def count(self, samples: Sequence[Sample]) -> float:
        """Count the pairs."""
        return float(len(samples))

    def derive(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return nothing more."""
        return {}

    def _sum_pairs(self, loss_P: Tensor, value_P2: Tensor, batch: Batch) -> Sums:
        value_P2 = value_P2.detach()
        margin_P = value_P2[:, 0] - value_P2[:, 1]
        columns = [(margin_P.sign() + 1) / 2, margin_P, value_P2[:, 0], value_P2[:, 1]]
        if self.has_mean:
            columns.append(value_P2.mean(1))
        sums_M = torch.stack(columns).sum(1)
        if batch.sharers is not None:  # each of them has the same
            sums_M = sums_M / dist.get_world_size(batch.sharers)
        return Sums(_once(loss_P.sum(), batch), sums_M)


class Dpo(PairStage):
    """Better answers become likelier than they were, beside worse ones.

    Measured are rewards: beta times what an answer's log-probability has gained.
    """

    needs_reference = True
    measures = ("accuracy", "margin", "chosen_reward", "rejected_reward")

    def __init__(self, *, beta: float) -> None:
        """Take DPO's beta. The reference is told before the first loss."""
        super().__init__()
        self.beta = beta
        self.reference: dict[Key, tuple[float, float]] = {}
        """Log-probabilities of a pair's chosen and rejected answer before the first step."""

    def get_logps(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Tensor:
        """Return P x 2 log-probabilities of whole answers, chosen and rejected."""
        assert batch.pairs is not None
        logp_S = target_logps(hidden_TE[batch.source_S], head_VE, batch.target_S, self.bend)
        if batch.weight_S is not None:
            logp_S = logp_S * batch.weight_S
        sums = logp_S.new_zeros(2 * batch.pairs.num_pairs)
        return _sum_parts(sums.index_add(0, batch.pairs.side_S, logp_S), batch).view(-1, 2)

    def sum_up(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Sums:
        """Return the sums of the pairs' losses and measures."""
        logp_P2 = self.get_logps(hidden_TE, head_VE, batch)
        known = [self.reference[key] for key in zip(batch.sources, batch.rows, strict=True)]
        reference_P2 = torch.tensor(known, device=logp_P2.device).view(-1, 2)
        reward_P2 = self.beta * (logp_P2 - reference_P2)
        return self._sum_pairs(dpo_loss(reward_P2), reward_P2, batch)


class Reward(PairStage):
    """A number for an answer, read at its last token."""

    measures = ("accuracy", "margin", "chosen_score", "rejected_score", "mean_score")
    has_mean = True

    def __init__(self, width: int, *, focus: float, barrier: float, device: torch.device) -> None:
        """Make the head that reads scores: zero, so that it begins without an opinion."""
        super().__init__()
        self.focus, self.barrier = focus, barrier
        self.score = nn.Linear(width, 1, bias=False, device=device, dtype=torch.float32)
        nn.init.zeros_(self.score.weight)

    def sum_up(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Sums:
        """Return the sums of the pairs' losses and measures."""
        assert batch.pairs is not None
        last = batch.pairs.last_P2.flatten()
        is_here = (last >= 0)[:, None]  # elsewhere in the row of which this is a part
        hidden = hidden_TE[last.clamp(min=0)].float()
        with torch.autocast(hidden.device.type, enabled=False):
            scores = self.score(torch.where(is_here, hidden, 0))[:, 0]
        score_P2 = _sum_parts(scores, batch).view(-1, 2)
        losses = reward_loss(score_P2, focus=self.focus, barrier=self.barrier)
        return self._sum_pairs(losses, score_P2, batch)


def make_stage(spec: TrainSpec, *, width: int, device: torch.device) -> Stage:
    """Make the stage that a spec asks for; E is `width`."""
    if spec.stage == "dpo":
        return Dpo(beta=spec.dpo.beta)
    if spec.stage == "reward":
        options = spec.reward
        return Reward(width, focus=options.focus, barrier=options.barrier, device=device)
    return Stage()


class _SumParts(torch.autograd.Function):
    """Sum what the parts of a row each know. The gradient of a sum is each part's own."""

    @staticmethod
    def forward(ctx: object, known: Tensor, group: dist.ProcessGroup) -> Tensor:
        known = known.clone()
        dist.all_reduce(known, group=group)
        return known

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def _sum_parts(known: Tensor, batch: Batch) -> Tensor:
    group = batch.sharers
    if group is None:
        return known
    summed: Tensor = _SumParts.apply(known, group)
    return summed


def _once(loss: Tensor, batch: Batch) -> Tensor:
    """Give each part of a row its share of a loss that all of them have, and the whole gradient."""
    if batch.sharers is None:
        return loss
    share = loss.detach() / dist.get_world_size(batch.sharers)
    return share + (loss - loss.detach())
