"""Linear layers of 4-bit weights, widened in the inner loop and multiplied in floats (W4A16).

N rows, I inputs, O outputs, G groups of inputs.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.serve.decoder.weights import LinearWeights

_OUTPUTS = 64
_INPUTS = 64
_MOST_ROWS = 64


def multiply_int4(rows_NI: Tensor, linear: LinearWeights) -> Tensor:
    """Return N x O in the dtype of the rows: `operations.apply_linear` of an int4 layer.

    Raises:
        ValueError: when `can_multiply` says no; the caller widens then.
    """
    assert linear.scale is not None
    if not can_multiply(linear):
        raise ValueError(f"groups of {linear.group_size} are not for this kernel")
    rows_NI = rows_NI.contiguous()
    count, inputs = rows_NI.shape
    outputs, group = linear.num_outputs, linear.group_size
    out = torch.empty(count, outputs, dtype=rows_NI.dtype, device=rows_NI.device)
    rows_each = min(_MOST_ROWS, max(16, triton.next_power_of_2(count)))
    inputs_each = min(_INPUTS, group & -group)  # a step lies in one group
    zero, bias = linear.zero, linear.bias
    _multiply[(triton.cdiv(count, rows_each), triton.cdiv(outputs, _OUTPUTS))](
        rows_NI,
        linear.weight,
        linear.scale,
        linear.weight if zero is None else zero,
        rows_NI if bias is None else bias,
        out,
        count,
        inputs=inputs,
        outputs=outputs,
        group=group,
        has_zero=zero is not None,
        has_bias=bias is not None,
        rows_each=rows_each,
        outputs_each=_OUTPUTS,
        inputs_each=inputs_each,
    )
    return out


def can_multiply(linear: LinearWeights) -> bool:
    """Say whether the kernel takes the layer: a step of 32 inputs or more lies in one group."""
    return linear.kind == "int4" and linear.group_size % 32 == 0


@triton.jit
def _multiply(
    rows,
    weight,
    scale,
    zero,
    bias,
    out,
    count,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    group: tl.constexpr,
    has_zero: tl.constexpr,
    has_bias: tl.constexpr,
    rows_each: tl.constexpr,
    outputs_each: tl.constexpr,
    inputs_each: tl.constexpr,
):
    row = tl.program_id(0) * rows_each + tl.arange(0, rows_each)
    column = tl.program_id(1) * outputs_each + tl.arange(0, outputs_each)
    groups: tl.constexpr = inputs // group
    half: tl.constexpr = inputs_each // 2
    total = tl.zeros([rows_each, outputs_each], tl.float32)
    is_row, is_column = (row < count)[:, None], (column < outputs)[None, :]
    for base in range(0, inputs, inputs_each):
        # A byte holds an even input and the next: two products over half as many inputs each.
        byte = base // 2 + tl.arange(0, half)
        packed = tl.load(
            weight + column[None, :].to(tl.int64) * (inputs // 2) + byte[:, None],
            mask=is_column,
            other=0,
        )
        place = column * groups + base // group
        step = tl.load(scale + place, mask=column < outputs, other=0.0)
        middle = tl.full([outputs_each], 8.0, tl.float32)
        if has_zero:
            middle = tl.load(zero + place, mask=column < outputs, other=0).to(tl.float32)
        low = ((packed & 15).to(tl.float32) - middle[None, :]) * step[None, :]
        high = ((packed >> 4).to(tl.float32) - middle[None, :]) * step[None, :]
        at = row[:, None].to(tl.int64) * inputs + base + 2 * tl.arange(0, half)[None, :]
        even = tl.load(rows + at, mask=is_row, other=0.0)
        odd = tl.load(rows + at + 1, mask=is_row, other=0.0)
        total += tl.dot(even, low.to(even.dtype), input_precision="ieee")
        total += tl.dot(odd, high.to(odd.dtype), input_precision="ieee")
    if has_bias:
        total += tl.load(bias + column, mask=column < outputs, other=0.0).to(tl.float32)[None, :]
    tl.store(
        out + row[:, None].to(tl.int64) * outputs + column[None, :],
        total.to(out.dtype.element_ty),
        mask=is_row & is_column,
    )
