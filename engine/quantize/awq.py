"""AWQ (arXiv 2306.00978): scales that spare the channels which matter, then clipped ranges.

Where we depart: the error is that of the linear layers' own outputs, summed over those that share
an input, and it is taken from the input's second moments, so that a candidate costs the same
however many tokens were read. O outputs, I inputs, N groups of a row, G inputs of a group.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.quantize.grid import Grid, Rounded, Steps, fit_steps, round_groups, round_weight

_NUM_RATIOS = 20  # section 3.2: a grid over [0, 1]; 0 is plain rounding, so the search never loses
_SHRINKS = tuple(1 - step / 20 for step in range(11))  # down to half, as the authors' code does
_LEAST_SCALE = 1e-4


def measure_error(delta_OI: Tensor, gram_II: Tensor) -> float:
    """Return the squared error of a layer's outputs, over the tokens of the second moments.

    `gram_II` is the sum of x x^T over inputs x.
    """
    return float(((delta_OI @ gram_II) * delta_OI).sum())


def search_scale(
    weights: Sequence[Tensor], gram_II: Tensor, magnitude_I: Tensor, grid: Grid
) -> Tensor:
    """Return the scale of each input that makes the rounded layers' outputs err least, I floats.

    `weights` share the input; `magnitude_I` is the mean of its absolute values. A weight is
    multiplied by the scale before it is rounded, its input divided by it (equations 4 and 5).
    """
    best = torch.ones_like(magnitude_I)
    least = float("inf")
    for step in range(_NUM_RATIOS):
        scale_I = magnitude_I.pow(step / _NUM_RATIOS).clamp(min=_LEAST_SCALE)
        scale_I = scale_I / (scale_I.max() * scale_I.min()).sqrt()
        error = sum(
            measure_error(
                round_weight(weight * scale_I, grid).dequantize() / scale_I - weight, gram_II
            )
            for weight in weights
        )
        if error < least:
            best, least = scale_I, error
    return best


def clip_weight(weight_OI: Tensor, gram_II: Tensor, grid: Grid) -> Rounded:
    """Round a weight within ranges narrowed so that each group's part of the outputs errs least."""
    groups_ONG = grid.split(weight_OI)
    blocks_NGG = _take_blocks(gram_II, groups_ONG.shape[2])
    reach_ON1 = groups_ONG.abs().amax(dim=-1, keepdim=True)
    best: Steps | None = None
    least_ON = torch.empty(0)
    for shrink in _SHRINKS:
        bound = reach_ON1 * shrink
        steps = fit_steps(groups_ONG.clamp(-bound, bound), grid)
        codes = round_groups(groups_ONG, steps, grid)
        delta = (codes - steps.zero_ON[..., None]) * steps.scale_ON[..., None] - groups_ONG
        error_ON = torch.einsum("ong,ngh,onh->on", delta, blocks_NGG, delta)
        if best is None:
            best, least_ON = steps, error_ON
            continue
        wins = error_ON < least_ON
        least_ON = torch.where(wins, error_ON, least_ON)
        best = Steps(
            torch.where(wins, steps.scale_ON, best.scale_ON),
            torch.where(wins, steps.zero_ON, best.zero_ON),
        )
    return round_weight(weight_OI, grid, best)


def _take_blocks(gram_II: Tensor, size: int) -> Tensor:
    """Return the squares along the diagonal, N x G x G."""
    count = gram_II.shape[0] // size
    grid = gram_II.reshape(count, size, count, size)
    return torch.stack([grid[index, :, index, :] for index in range(count)])
