"""Multiplies large linear layers in 8-bit floats, scaled anew each time for each row.

Both factors of a product are brought to float8 (e4m3, largest 448), each row of the left and each
column of the right with a scale of its own (arXiv 2209.05433; rowwise as in torch's float8). The
weight's gradient is taken in bfloat16, and weights are kept as they are. M rows of the input, K
inputs and N outputs of a layer.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import EngineError
from engine.status import Reason

FLOAT8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(FLOAT8).max
_SMALLEST_SIDE = 1024  # below it, scaling takes longer than the product saves
_MULTIPLE = 16  # of sides that tensor cores take
_SINCE = (8, 9)  # CUDA capability of the first GPUs that multiply float8: Ada, then Hopper


def require_fp8(device: torch.device) -> None:
    """Refuse a device that does not multiply 8-bit floats.

    Raises:
        EngineError: bad_spec, with the mend.
    """
    if not has_fp8(device):
        raise EngineError(
            Reason.BAD_SPEC,
            "precision: fp8 needs a GPU that multiplies 8-bit floats, such as an H100 or an L40: "
            "take bf16.",
        )


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


def has_fp8(device: torch.device) -> bool:
    """Say whether a device multiplies 8-bit floats."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _SINCE


def multiply_linear(linear: nn.Linear, inputs: Tensor) -> Tensor:
    """Do what a linear layer does, in bfloat16 but for the product."""
    rows_MK = inputs.reshape(-1, linear.in_features).bfloat16()
    out: Tensor = _Multiply.apply(rows_MK, linear.weight.bfloat16())
    out = out.view(*inputs.shape[:-1], linear.out_features)
    return out if linear.bias is None else out + linear.bias.bfloat16()


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values in float8, and the number (float32, one a row) by which each row is divided."""
    largest = values.abs().amax(dim=1, keepdim=True).float()
    scale = largest.clamp(min=torch.finfo(torch.float32).tiny * _LARGEST) / _LARGEST
    return (values.float() / scale).clamp(-_LARGEST, _LARGEST).to(FLOAT8), scale


def multiply_rows(left_MK: Tensor, right_NK: Tensor) -> Tensor:
    """Return `left @ right.T` in bfloat16, both quantized by their rows."""
    left, left_scale = quantize_rows(left_MK)
    right, right_scale = quantize_rows(right_NK)
    if left.is_cuda:
        product: Tensor = torch._scaled_mm(
            left, right.T, scale_a=left_scale, scale_b=right_scale.T, out_dtype=torch.bfloat16
        )
        return product
    return ((left.float() * left_scale) @ (right.float() * right_scale).T).bfloat16()


class _Multiply(torch.autograd.Function):
    """`rows @ weight.T`."""

    @staticmethod
    def forward(ctx: Any, rows_MK: Tensor, weight_NK: Tensor) -> Tensor:
        ctx.save_for_backward(rows_MK if ctx.needs_input_grad[1] else None, weight_NK)
        return multiply_rows(rows_MK, weight_NK)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows_MK, weight_NK = ctx.saved_tensors
        grad_MN = grads[0].contiguous()
        rows = weight = None
        if ctx.needs_input_grad[0]:
            rows = multiply_rows(grad_MN, weight_NK.T.contiguous())
        if ctx.needs_input_grad[1]:
            weight = grad_MN.T @ rows_MK
        return rows, weight


def _is_worth_it(linear: nn.Linear) -> bool:
    sides = linear.in_features, linear.out_features
    return min(sides) >= _SMALLEST_SIDE and not any(side % _MULTIPLE for side in sides)
