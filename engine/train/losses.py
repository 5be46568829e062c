"""Losses: of supervised positions, in blocks, without keeping logits; and of pairs of answers.

S supervised positions, E hidden width, V vocabulary, P pairs.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.decoder import Bend
from engine.train.native import suits
from engine.train.rows import learn_in_place

_SCORE_BOUND = 5.0
_STRAIGHT = Bend()
_BLOCK = 256  # positions whose logits exist at once: 256 x 49k bfloat16 is 24 MiB


class _HeadLoss(torch.autograd.Function):
    """Weighted sums of cross-entropies under an output head, and of targets that it puts first.

    Gradients are taken block by block in the forward pass, where the logits are at hand:
    d loss / d logits = weight * (softmax(logits) - onehot(target)), times the head for the hidden
    states, times the hidden states for the head where it is trained.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_SE: Tensor,
        head_VE: Tensor,
        target_S: Tensor,
        weight_S: Tensor | None,
        cap: float | None,
    ) -> tuple[Tensor, Tensor]:
        total = hidden_SE.new_zeros((), dtype=torch.float32)
        right = torch.zeros_like(total)
        grad_SE = torch.empty_like(hidden_SE)
        compute = _get_compute_dtype(hidden_SE, head_VE)
        is_trained = ctx.needs_input_grad[1]
        grad_VE = None
        for part, part_BE, logits_BV in _iter_logits(hidden_SE, head_VE, compute):
            weight_B = None if weight_S is None else weight_S[part]
            slopes_BV = _cap(logits_BV, cap)
            loss_B, right_B, wrong_BV = learn_logits(logits_BV, target_S[part], weight_B)
            if slopes_BV is not None:
                wrong_BV *= slopes_BV
            total += loss_B.sum()
            right += right_B.sum()
            grad_SE[part] = wrong_BV @ head_VE.to(compute)
            if grad_VE is None and is_trained:
                grad_VE = (wrong_BV.T @ part_BE).float()
            elif grad_VE is not None:
                grad_VE += wrong_BV.T @ part_BE
        if grad_VE is None and is_trained:  # nothing is supervised here
            grad_VE = torch.zeros_like(head_VE, dtype=torch.float32)
        ctx.save_for_backward(grad_SE, grad_VE)
        ctx.head_dtype = head_VE.dtype
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_SE, grad_VE = ctx.saved_tensors
        hidden = grad_SE * grads[0].to(grad_SE.dtype) if ctx.needs_input_grad[0] else None
        head = None if grad_VE is None else grad_VE.mul_(grads[0]).to(ctx.head_dtype)  # used once
        return hidden, head, None, None, None


def head_loss_sum(
    hidden_SE: Tensor,
    head_VE: Tensor,
    target_S: Tensor,
    weight_S: Tensor | None = None,
    bend: Bend = _STRAIGHT,
) -> tuple[Tensor, Tensor]:
    """Sum, in float32, each target's cross-entropy in nats, and the targets that were foretold.

    Each counts by its weight; foretold is what no other token is likelier than. The first sum is
    differentiable in `hidden_SE`, and in `head_VE` where that is trained. Under autocast the
    products are taken in its precision. The caller divides by the supervised weight of the whole
    step, so that micro-batches, processes and their number change nothing.
    """
    scaled_SE = _scale(hidden_SE, bend)
    loss, right = _HeadLoss.apply(scaled_SE, head_VE, target_S, weight_S, bend.cap)
    return loss, right


def learn_logits(
    logits_BV: Tensor, target_B: Tensor, weight_B: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return B losses in nats, float32, what was right, and gradients in the logits' own type.

    A target that no other token beats is right by its weight. The logits may hold the gradients
    afterwards.
    """
    if logits_BV.dtype == torch.bfloat16 and suits(logits_BV):
        return learn_in_place(logits_BV, target_B, weight_B)
    picked = torch.arange(logits_BV.shape[0]), target_B
    right_B = (logits_BV[picked] >= logits_BV.amax(-1)).float()
    logp_BV = logits_BV.float().log_softmax(-1)
    loss_B = -logp_BV[picked]
    wrong_BV = logp_BV.exp_()
    wrong_BV[picked] -= 1
    if weight_B is not None:
        loss_B, right_B = loss_B * weight_B, right_B * weight_B
        wrong_BV *= weight_B[:, None]
    return loss_B, right_B, wrong_BV.to(logits_BV.dtype)


class _TargetLogps(torch.autograd.Function):
    """Log-probability of each target; logits are computed again for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden_SE: Tensor, head_VE: Tensor, target_S: Tensor, cap: float | None
    ) -> Tensor:
        ctx.save_for_backward(hidden_SE, head_VE, target_S)
        ctx.compute, ctx.cap = _get_compute_dtype(hidden_SE, head_VE), cap
        parts = []
        for part, _, logits_BV in _iter_logits(hidden_SE, head_VE, ctx.compute):
            _cap(logits_BV, cap)
            parts.append(-F.cross_entropy(logits_BV.float(), target_S[part], reduction="none"))
        return torch.cat(parts) if parts else hidden_SE.new_zeros(0, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_SE, head_VE, target_S = ctx.saved_tensors
        grad_SE = torch.empty_like(hidden_SE)
        is_trained = ctx.needs_input_grad[1]
        grad_VE = torch.zeros_like(head_VE, dtype=torch.float32) if is_trained else None
        for part, part_BE, logits_BV in _iter_logits(hidden_SE, head_VE, ctx.compute):
            slopes_BV = _cap(logits_BV, ctx.cap)
            wrong_BV = -logits_BV.softmax(-1, dtype=torch.float32)
            wrong_BV[torch.arange(wrong_BV.shape[0]), target_S[part]] += 1
            if slopes_BV is not None:
                wrong_BV *= slopes_BV
            wrong_BV = (wrong_BV * grads[0][part, None]).to(ctx.compute)
            grad_SE[part] = (wrong_BV @ head_VE.to(ctx.compute)).to(hidden_SE.dtype)
            if grad_VE is not None:
                grad_VE += wrong_BV.T @ part_BE
        head = None if grad_VE is None else grad_VE.to(head_VE.dtype)
        return grad_SE, head, None, None


def target_logps(
    hidden_SE: Tensor, head_VE: Tensor, target_S: Tensor, bend: Bend = _STRAIGHT
) -> Tensor:
    """Return each target's log-probability in nats, float32, as S numbers.

    Differentiable in `hidden_SE`, and in `head_VE` where that is trained.
    """
    logps: Tensor = _TargetLogps.apply(_scale(hidden_SE, bend), head_VE, target_S, bend.cap)
    return logps


def dpo_loss(reward_P2: Tensor) -> Tensor:
    """Return each pair's DPO loss (arXiv 2305.18290, equation 7) of its answers' rewards.

    Column 0 is the chosen answer, 1 the rejected one. A reward is beta times what an answer's
    log-probability has gained over that of the model as it was.
    """
    return -F.logsigmoid(reward_P2[:, 0] - reward_P2[:, 1])


def reward_loss(score_P2: Tensor, *, focus: float, barrier: float) -> Tensor:
    """Return each pair's loss by the InternLM2 report (arXiv 2403.17297, section 4.3.1).

    Focal ranking, -(1 - 2 max(0, p - 1/2))^focus log p with p = sigmoid(chosen - rejected), and
    `barrier` times the mean of -(log(x + 5) + log(5 - x)) over both scores within (-5, 5).
    """
    margin_P = score_P2[:, 0] - score_P2[:, 1]
    over_P = (margin_P.sigmoid() - 0.5).clamp(min=0)
    ranking_P = -((1 - 2 * over_P) ** focus) * F.logsigmoid(margin_P)
    is_inside = score_P2.abs() < _SCORE_BOUND
    inner_P2 = torch.where(is_inside, score_P2, 0)
    walls_P2 = -(torch.log(inner_P2 + _SCORE_BOUND) + torch.log(_SCORE_BOUND - inner_P2))
    return ranking_P + barrier * torch.where(is_inside, walls_P2, 0).mean(1)


def _iter_logits(
    hidden_SE: Tensor, head_VE: Tensor, compute: torch.dtype
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    cast_VE = head_VE.to(compute)
    for start in range(0, hidden_SE.shape[0], _BLOCK):
        part = slice(start, start + _BLOCK)
        part_BE = hidden_SE[part].to(compute)
        yield part, part_BE, F.linear(part_BE, cast_VE)


def _scale(hidden_SE: Tensor, bend: Bend) -> Tensor:
    """Scale what the head multiplies: its products are as much larger, and so are gradients."""
    return hidden_SE if bend.scale == 1 else hidden_SE * bend.scale


def _cap(logits_BV: Tensor, cap: float | None) -> Tensor | None:
    """Cap logits in place; return by what gradients of them become those of what they were."""
    if cap is None:
        return None
    bent_BV = (logits_BV / cap).tanh_()
    torch.mul(bent_BV, cap, out=logits_BV)
    return bent_BV.square_().neg_().add_(1)


def _get_compute_dtype(hidden_SE: Tensor, head_VE: Tensor) -> torch.dtype:
    kind = hidden_SE.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else head_VE.dtype
