"""Cross-entropy of supervised positions, in blocks, without keeping logits.

S supervised positions, E hidden width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 256  # positions whose logits exist at once: 256 x 49k float32 is 48 MiB


class _FrozenHeadLoss(torch.autograd.Function):
    """Sum of cross-entropies under a frozen output head.

    The gradient for the hidden states is taken block by block in the forward pass, where the
    logits are at hand: d loss / d hidden = (softmax(logits) - onehot(target)) @ head.
    """

    @staticmethod
    def forward(ctx: Any, hidden_SE: Tensor, head_VE: Tensor, target_S: Tensor) -> Tensor:
        total = hidden_SE.new_zeros((), dtype=torch.float32)
        grad_SE = torch.empty_like(hidden_SE)
        for start in range(0, hidden_SE.shape[0], _BLOCK):
            part = slice(start, start + _BLOCK)
            logits_BV = F.linear(hidden_SE[part].to(head_VE.dtype), head_VE).float()
            total += F.cross_entropy(logits_BV, target_S[part], reduction="sum")
            wrong_BV = logits_BV.softmax(-1)
            wrong_BV[torch.arange(wrong_BV.shape[0]), target_S[part]] -= 1
            grad_SE[part] = (wrong_BV.to(head_VE.dtype) @ head_VE).to(hidden_SE.dtype)
        ctx.save_for_backward(grad_SE)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad_SE,) = ctx.saved_tensors
        return grad_SE * grads[0].to(grad_SE.dtype), None, None


def sft_loss_sum(hidden_SE: Tensor, head_VE: Tensor, target_S: Tensor) -> Tensor:
    """Sum, in nats and float32, of the cross-entropy of each target under a frozen head.

    Differentiable in `hidden_SE` only. The caller divides by the supervised tokens of the whole
    step, so that micro-batches and their number change nothing.
    """
    loss: Tensor = _FrozenHeadLoss.apply(hidden_SE, head_VE, target_S)
    return loss
