"""Attention of short samples on a processor, in bfloat16, as three products and a softmax.

PyTorch's own kernel is made for long rows: for samples of 64 tokens its backward pass takes five
times as long as this, which keeps what it needs of each sample's L x L weights. N samples of L
tokens, H heads, K key-value heads, D head width.
"""

from typing import Any

import torch
from torch import Tensor

LONGEST = 256
"""Beyond, the kernel is as fast, and the weights that would be kept grow with the square."""


class _ShortAttention(torch.autograd.Function):
    """Causal attention; scores and softmax in float32, the other products in bfloat16."""

    @staticmethod
    def forward(
        ctx: Any, query_NHLD: Tensor, key_NKLD: Tensor, value_NKLD: Tensor, scaling: float
    ) -> Tensor:
        num_samples, num_heads, length, width = query_NHLD.shape
        num_groups = num_samples * key_NKLD.shape[1]  # each key head and the query heads it serves
        query = query_NHLD.reshape(num_groups, -1, width)
        key, value = (x.reshape(num_groups, length, width) for x in (key_NKLD, value_NKLD))
        later = torch.full((length, length), float("-inf")).triu(1)
        scores = torch.baddbmm(
            later.repeat(query.shape[1] // length, 1),
            query.float(),
            key.float().transpose(1, 2),
            alpha=scaling,
        )
        weights = scores.softmax(-1).to(query.dtype)
        ctx.save_for_backward(query, key, value, weights)
        ctx.scaling, ctx.key_shape = scaling, key_NKLD.shape
        return torch.bmm(weights, value).view(query_NHLD.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, weights = ctx.saved_tensors
        grad = grads[0].reshape(query.shape)
        grad_value = torch.bmm(weights.transpose(1, 2), grad)
        grad_weights = torch.bmm(grad, value.transpose(1, 2))
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_query = torch.bmm(grad_scores, key).mul_(ctx.scaling)
        grad_key = torch.bmm(grad_scores.transpose(1, 2), query).mul_(ctx.scaling)
        return (
            grad_query.view(grads[0].shape),
            grad_key.view(ctx.key_shape),
            grad_value.view(ctx.key_shape),
            None,
        )


def suits(query_NHLD: Tensor, dropout: float) -> bool:
    """Say whether samples of this length, type and device go this way."""
    return (
        query_NHLD.device.type == "cpu"
        and query_NHLD.dtype == torch.bfloat16
        and query_NHLD.shape[2] <= LONGEST
        and dropout == 0
    )


def attend_short(
    query_NHLD: Tensor, key_NKLD: Tensor, value_NKLD: Tensor, scaling: float | None
) -> Tensor:
    """Attend causally within each sample; return N x H x L x D in bfloat16."""
    scale = query_NHLD.shape[-1] ** -0.5 if scaling is None else scaling
    out: Tensor = _ShortAttention.apply(query_NHLD, key_NKLD, value_NKLD, scale)
    return out
