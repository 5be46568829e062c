"""Keys and values rounded as the server's C++ decoder holds them, to measure what that costs.

Each token and head has a scale of its own; the first block of a request is kept in full, and no
layer is (decision 060). D head width.
"""

from typing import Any

import torch
from torch import Tensor

KEPT_POSITIONS = 16
"""The first positions of a request: a block of the server's pool."""


def round_vectors(values: Tensor, bits: int) -> Tensor:
    """Round each vector of the last dimension and return what its codes mean, in float32.

    8 bits by its largest absolute value; 4 bits from its smallest value, or 0, to its largest.
    Scales are bfloat16, no smaller than they must be.
    """
    values = values.float()
    if bits == 8:
        scale = _round_up(values.abs().amax(dim=-1, keepdim=True) / 127)
        return _divide(values, scale).clamp(-128, 127) * scale
    low = values.amin(dim=-1, keepdim=True).clamp(max=0)
    high = values.amax(dim=-1, keepdim=True).clamp(min=0)
    scale = _round_up((high - low) / 15)
    zero = _divide(-low, scale).clamp(0, 15)
    return ((_divide(values, scale) + zero).clamp(0, 15) - zero) * scale


class RoundingCache:
    """Stands where a layer's cache stands, for whole windows; what it gives back is rounded."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.num_updates = 0
        """How often a layer asked: never is a layer that keeps its keys elsewhere."""

    def update(
        self, key_BKTD: Tensor, value_BKTD: Tensor, *given: Any, **named: Any
    ) -> tuple[Tensor, Tensor]:
        """Return keys and values, rounded but for what the server keeps in full."""
        self.num_updates += 1
        return self._round(key_BKTD), self._round(value_BKTD)

    def _round(self, whole_BKTD: Tensor) -> Tensor:
        first, rest = whole_BKTD[..., :KEPT_POSITIONS, :], whole_BKTD[..., KEPT_POSITIONS:, :]
        return torch.cat([first, round_vectors(rest, self.bits).to(whole_BKTD.dtype)], dim=-2)


def _round_up(scale: Tensor) -> Tensor:
    """Return the next bfloat16 that is not smaller; scales are not negative."""
    bits = scale.contiguous().view(torch.int32)
    return ((bits + 0xFFFF) & -0x10000).view(torch.float32)


def _divide(values: Tensor, scale: Tensor) -> Tensor:
    """Return the nearest whole numbers; nothing where the scale is nothing."""
    return (values * torch.where(scale > 0, 1 / scale, 0.0)).round()
