"""Root mean square norm, with what was added before it, in one pass over a row.

N rows, E hidden width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


def add_and_norm(
    hidden_NE: Tensor, added_NE: Tensor | None, weight_E: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Return the sum and its norm, both in the dtype of `hidden_NE`; without `added_NE` the sum is
    `hidden_NE` itself. Computed in float32, as `operations.rms_norm`."""
    hidden_NE = hidden_NE.contiguous()
    width = hidden_NE.shape[-1]
    normed = torch.empty_like(hidden_NE)
    total = hidden_NE if added_NE is None else torch.empty_like(hidden_NE)
    _add_and_norm[(hidden_NE.numel() // width,)](
        hidden_NE,
        hidden_NE if added_NE is None else added_NE.contiguous(),
        weight_E,
        total,
        normed,
        eps,
        width=width,
        width_padded=triton.next_power_of_2(width),
        has_added=added_NE is not None,
    )
    return total, normed


@triton.jit
def _add_and_norm(
    hidden,
    added,
    weight,
    total,
    normed,
    eps,
    width: tl.constexpr,
    width_padded: tl.constexpr,
    has_added: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, width_padded)
    is_there = column < width
    value = tl.load(hidden + row + column, mask=is_there, other=0.0)
    if has_added:
        value = value + tl.load(added + row + column, mask=is_there, other=0.0)
        tl.store(total + row + column, value, mask=is_there)
    wide = value.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / width + eps)
    factor = tl.load(weight + column, mask=is_there, other=0.0).to(tl.float32)
    tl.store(normed + row + column, (wide * scale * factor).to(value.dtype), mask=is_there)
