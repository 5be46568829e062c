"""The grids that weights are rounded to, and the rounding.

O outputs, I inputs, N groups of a row, G inputs of a group.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_SCALE = 1e-7  # of an empty group; float16 still holds it


@dataclass(frozen=True)
class Grid:
    """The values that a weight may have: (code - zero) * scale."""

    bits: int
    group_size: int = 0
    """Inputs that share a scale; 0 is the whole row."""
    is_symmetric: bool = True
    scale_dtype: torch.dtype = torch.float16
    """What scales are stored in: they are rounded to it before the codes are chosen."""

    @property
    def most(self) -> int:
        """The largest code: codes are 0 to 15 of 4 bits, and -127 to 127 of 8."""
        return 15 if self.bits == 4 else 127

    @property
    def least(self) -> int:
        """The smallest code."""
        return 0 if self.bits == 4 else -127

    def split(self, weight_OI: Tensor) -> Tensor:
        """View a weight by its groups, O x N x G."""
        width = self.group_size or weight_OI.shape[1]
        return weight_OI.reshape(weight_OI.shape[0], -1, width)


@dataclass(frozen=True)
class Steps:
    """Scale and zero of each group, O x N."""

    scale_ON: Tensor
    zero_ON: Tensor
    """Whole numbers, as float; 8 of symmetric 4 bits, 0 of 8 bits."""


@dataclass(frozen=True)
class Rounded:
    """A weight on its grid."""

    grid: Grid
    codes_OI: Tensor
    """uint8 of 4 bits, int8 of 8."""
    steps: Steps

    def dequantize(self) -> Tensor:
        """Return the weight that the codes mean, O x I, float32."""
        codes_ONG = self.grid.split(self.codes_OI).float()
        scale, zero = self.steps.scale_ON[..., None], self.steps.zero_ON[..., None]
        return ((codes_ONG - zero) * scale).reshape(self.codes_OI.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of codes, scales and zeros as they are stored."""
        num_steps = self.steps.scale_ON.numel()
        zeros = 0 if self.grid.is_symmetric else num_steps * self.grid.bits // 8
        return self.codes_OI.numel() * self.grid.bits // 8 + 2 * num_steps + zeros


def fit_steps(groups_ONG: Tensor, grid: Grid) -> Steps:
    """Return the steps that span each group from its smallest value to its largest.

    An asymmetric grid spans 0 too, so that 0 stays 0.
    """
    if grid.is_symmetric:
        reach = groups_ONG.abs().amax(dim=-1)
        scale = _store(reach / (7.5 if grid.bits == 4 else 127), grid)
        zero = torch.full_like(scale, 8.0 if grid.bits == 4 else 0.0)
        return Steps(scale, zero)
    low = groups_ONG.amin(dim=-1).clamp(max=0)
    high = groups_ONG.amax(dim=-1).clamp(min=0)
    scale = _store((high - low) / grid.most, grid)
    return Steps(scale, (-low / scale).round().clamp(0, grid.most))


def round_groups(groups_ONG: Tensor, steps: Steps, grid: Grid) -> Tensor:
    """Return the nearest codes, as float."""
    codes = (groups_ONG / steps.scale_ON[..., None]).round() + steps.zero_ON[..., None]
    return codes.clamp(grid.least, grid.most)


def round_weight(weight_OI: Tensor, grid: Grid, steps: Steps | None = None) -> Rounded:
    """Round a weight to the nearest values of its grid."""
    groups_ONG = grid.split(weight_OI)
    steps = steps or fit_steps(groups_ONG, grid)
    codes = round_groups(groups_ONG, steps, grid).reshape(weight_OI.shape)
    return Rounded(grid, codes.to(torch.uint8 if grid.bits == 4 else torch.int8), steps)


def round_rows(rows_RI: Tensor) -> Tensor:
    """Round each row to int8 by its own largest value and return what that means (of W8A8)."""
    scale = (rows_RI.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=_LEAST_SCALE)
    return (rows_RI / scale).round().clamp(-127, 127) * scale


def _store(scale: Tensor, grid: Grid) -> Tensor:
    return scale.clamp(min=_LEAST_SCALE).to(grid.scale_dtype).float()
