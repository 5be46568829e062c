"""What each stage of training learns: a loss, and what a step's sum of it is divided by.

T positions of a row (or of a process's part of it), E hidden width, V vocabulary, S supervised
positions, P pairs.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.data.batch import Batch
from engine.data.samples import Sample, get_sides
from engine.specs import TrainSpec
from engine.train.losses import dpo_loss, head_loss_sum, reward_loss, target_logps

Key = tuple[int, int]
"""A sample's source and row."""


class Stage(nn.Module):
    """Every supervised token, each with its weight: SFT and pretraining."""

    needs_reference = False

    def count(self, samples: Sequence[Sample]) -> float:
        """Return what the losses of these samples are divided by."""
        return sum(side.supervised_weight for sample in samples for side in get_sides(sample))

    def loss_sum(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Tensor:
        """Return the sum of a batch's losses, in nats and float32."""
        hidden_SE = hidden_TE[batch.source_S]
        return head_loss_sum(hidden_SE, head_VE, batch.target_S, batch.weight_S)


class PairStage(Stage):
    """One loss for each pair of answers."""

    def count(self, samples: Sequence[Sample]) -> float:
        """Count the pairs."""
        return float(len(samples))


class Dpo(PairStage):
    """Better answers become likelier than they were, beside worse ones."""

    needs_reference = True

    def __init__(self, *, beta: float) -> None:
        """Take DPO's beta. The reference is told before the first loss."""
        super().__init__()
        self.beta = beta
        self.reference: dict[Key, tuple[float, float]] = {}
        """Log-probabilities of a pair's chosen and rejected answer before the first step."""

    def get_logps(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Tensor:
        """Return P x 2 log-probabilities of whole answers, chosen and rejected."""
        assert batch.pairs is not None
        logp_S = target_logps(hidden_TE[batch.source_S], head_VE, batch.target_S)
        if batch.weight_S is not None:
            logp_S = logp_S * batch.weight_S
        sums = logp_S.new_zeros(2 * batch.pairs.num_pairs)
        return _sum_parts(sums.index_add(0, batch.pairs.side_S, logp_S), batch).view(-1, 2)

    def loss_sum(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the pairs' losses."""
        logp_P2 = self.get_logps(hidden_TE, head_VE, batch)
        known = [self.reference[key] for key in zip(batch.sources, batch.rows, strict=True)]
        reference_P2 = torch.tensor(known, device=logp_P2.device).view(-1, 2)
        return _once(dpo_loss(logp_P2, reference_P2, beta=self.beta).sum(), batch)


class Reward(PairStage):
    """A number for an answer, read at its last token."""

    def __init__(self, width: int, *, focus: float, barrier: float, device: torch.device) -> None:
        """Make the head that reads scores: zero, so that it begins without an opinion."""
        super().__init__()
        self.focus, self.barrier = focus, barrier
        self.score = nn.Linear(width, 1, bias=False, device=device, dtype=torch.float32)
        nn.init.zeros_(self.score.weight)

    def loss_sum(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the pairs' losses."""
        assert batch.pairs is not None
        last = batch.pairs.last_P2.flatten()
        is_here = (last >= 0)[:, None]  # elsewhere in the row of which this is a part
        hidden = hidden_TE[last.clamp(min=0)].float()
        with torch.autocast(hidden.device.type, enabled=False):
            scores = self.score(torch.where(is_here, hidden, 0))[:, 0]
        score_P2 = _sum_parts(scores, batch).view(-1, 2)
        losses = reward_loss(score_P2, focus=self.focus, barrier=self.barrier)
        return _once(losses.sum(), batch)


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
