"""Cross-entropy of supervised positions, in blocks, without keeping logits.

S supervised positions, E hidden width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 256  # positions whose logits exist at once: 256 x 49k float32 is 48 MiB


class _HeadLoss(torch.autograd.Function):
    """Weighted sum of cross-entropies under an output head.

    Gradients are taken block by block in the forward pass, where the logits are at hand:
    d loss / d logits = weight * (softmax(logits) - onehot(target)), times the head for the hidden
    states, times the hidden states for the head where it is trained.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_SE: Tensor, head_VE: Tensor, target_S: Tensor, weight_S: Tensor | None
    ) -> Tensor:
        total = hidden_SE.new_zeros((), dtype=torch.float32)
        grad_SE = torch.empty_like(hidden_SE)
        compute = _get_compute_dtype(hidden_SE, head_VE)
        cast_VE = head_VE.to(compute)
        is_trained = ctx.needs_input_grad[1]
        grad_VE = torch.zeros_like(head_VE, dtype=torch.float32) if is_trained else None
        for start in range(0, hidden_SE.shape[0], _BLOCK):
            part = slice(start, start + _BLOCK)
            part_BE = hidden_SE[part].to(compute)
            logits_BV = F.linear(part_BE, cast_VE).float()
            loss_B = F.cross_entropy(logits_BV, target_S[part], reduction="none")
            wrong_BV = logits_BV.softmax(-1)
            wrong_BV[torch.arange(wrong_BV.shape[0]), target_S[part]] -= 1
            if weight_S is not None:
                loss_B = loss_B * weight_S[part]
                wrong_BV *= weight_S[part, None]
            total += loss_B.sum()
            wrong_BV = wrong_BV.to(compute)
            grad_SE[part] = (wrong_BV @ cast_VE).to(hidden_SE.dtype)
            if grad_VE is not None:
                grad_VE += wrong_BV.T @ part_BE
        ctx.save_for_backward(grad_SE, grad_VE)
        ctx.head_dtype = head_VE.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_SE, grad_VE = ctx.saved_tensors
        hidden = grad_SE * grads[0].to(grad_SE.dtype) if ctx.needs_input_grad[0] else None
        head = None if grad_VE is None else (grad_VE * grads[0]).to(ctx.head_dtype)
        return hidden, head, None, None


def head_loss_sum(
    hidden_SE: Tensor, head_VE: Tensor, target_S: Tensor, weight_S: Tensor | None = None
) -> Tensor:
    """Sum, in nats and float32, of each target's cross-entropy times its weight.

    Differentiable in `hidden_SE`, and in `head_VE` where that is trained. Under autocast the
    products are taken in its precision. The caller divides by the supervised weight of the whole
    step, so that micro-batches, processes and their number change nothing.
    """
    loss: Tensor = _HeadLoss.apply(hidden_SE, head_VE, target_S, weight_S)
    return loss


def _get_compute_dtype(hidden_SE: Tensor, head_VE: Tensor) -> torch.dtype:
    kind = hidden_SE.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else head_VE.dtype
