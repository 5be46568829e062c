"""Multiplies large linear layers in 8-bit floats, scaled anew each time for each row.

Both factors of a product are brought to float8 (`engine/models/float8.py`), each row of the left
and each column of the right with a scale of its own. The weight's gradient is taken in bfloat16,
and weights are kept as they are. M rows of the input, K inputs and N outputs of a layer.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from engine.models.float8 import MULTIPLE, multiply_quantized, quantize_rows

_SMALLEST_SIDE = 1024  # below it, scaling takes longer than the product saves


def use_fp8(layers: list[nn.Module]) -> int:
    """Have the large linear layers of a decoder's layers multiply in 8 bits; return their number.

    An adapter's own matrices are too narrow and stay as they are.
    """
    found = [
        module
        for layer in layers
        for module in layer.modules()
        if type(module) is nn.Linear and _is_worth_it(module)
    ]
    for module in found:
        module.forward = functools.partial(multiply_linear, module)  # type: ignore[method-assign]
    return len(found)


def multiply_linear(linear: nn.Linear, inputs: Tensor) -> Tensor:
    """Do what a linear layer does, in bfloat16 but for the product."""
    rows_MK = inputs.reshape(-1, linear.in_features).bfloat16()
    out: Tensor = _Multiply.apply(rows_MK, linear.weight.bfloat16())
    out = out.view(*inputs.shape[:-1], linear.out_features)
    return out if linear.bias is None else out + linear.bias.bfloat16()


class _Multiply(torch.autograd.Function):
    """`rows @ weight.T`."""

    @staticmethod
    def forward(ctx: Any, rows_MK: Tensor, weight_NK: Tensor) -> Tensor:
        ctx.save_for_backward(rows_MK if ctx.needs_input_grad[1] else None, weight_NK)
        return multiply_quantized(rows_MK, *quantize_rows(weight_NK))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows_MK, weight_NK = ctx.saved_tensors
        grad_MN = grads[0].contiguous()
        rows = weight = None
        if ctx.needs_input_grad[0]:
            rows = multiply_quantized(grad_MN, *quantize_rows(weight_NK.T.contiguous()))
        if ctx.needs_input_grad[1]:
            weight = grad_MN.T @ rows_MK
        return rows, weight


def _is_worth_it(linear: nn.Linear) -> bool:
    sides = linear.in_features, linear.out_features
    return min(sides) >= _SMALLEST_SIDE and not any(side % MULTIPLE for side in sides)
