"""Keys and values rounded as a server with a smaller cache holds them, to measure what that costs.

Each token and head has a scale of its own. D head width.
"""

from typing import Any

from torch import Tensor

_LEAST_SCALE = 1e-8


def round_vectors(values: Tensor, bits: int) -> Tensor:
    """Round each vector of the last dimension and return what its codes mean.

    8 bits by its largest absolute value; 4 bits from its smallest value to its largest.
    """
    if bits == 8:
        scale = (values.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=_LEAST_SCALE)
        return (values / scale).round().clamp(-127, 127) * scale
    low = values.amin(dim=-1, keepdim=True)
    scale = ((values.amax(dim=-1, keepdim=True) - low) / 15).clamp(min=_LEAST_SCALE)
    return ((values - low) / scale).round().clamp(0, 15) * scale + low


class RoundingCache:
    """Stands where a layer's cache stands, for whole windows; what it gives back is rounded."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.num_updates = 0
        """How often a layer asked: never is a layer that keeps its keys elsewhere."""

    def update(
        self, key_BKTD: Tensor, value_BKTD: Tensor, layer_idx: int, *given: Any, **named: Any
    ) -> tuple[Tensor, Tensor]:
        """Return rounded keys and values."""
        self.num_updates += 1
        return round_vectors(key_BKTD, self.bits), round_vectors(value_BKTD, self.bits)
