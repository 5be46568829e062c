"""SmoothQuant (arXiv 2211.10438): move the inputs' outliers into the weights, then 8 bits of both.

O outputs, I inputs, R rows of the input.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.quantize.grid import Grid, round_rows, round_weight

Merge = Callable[[Tensor], Tensor]

_ALPHAS = tuple(step / 10 for step in range(3, 10))  # section 4: 0.5 of most models, up to 0.9
_LEAST = 1e-5


def get_scale(weights: Sequence[Tensor], reach_I: Tensor, alpha: float) -> Tensor:
    """Return what each input is divided by (equation 4), I floats.

    `reach_I` is the largest absolute value of the input, `weights` share it.
    """
    largest_I = torch.stack([weight.abs().amax(dim=0) for weight in weights]).amax(dim=0)
    scale_I = reach_I.clamp(min=_LEAST).pow(alpha) / largest_I.clamp(min=_LEAST).pow(1 - alpha)
    return scale_I.clamp(min=_LEAST)


def search_scale(
    weights: Sequence[Tensor],
    rows_RI: Tensor,
    reach_I: Tensor,
    grid: Grid,
    *,
    alpha: float | None,
    merge: Merge | None = None,
) -> Tensor:
    """Return the scale under which the layers' outputs on `rows_RI` err least with 8 bits.

    A given `alpha` is taken as it is. Of a search one candidate is no scale at all, so that it
    never loses to plain rounding. `merge` makes a candidate one that can be divided out.
    """
    make = merge or (lambda scale_I: scale_I)
    if alpha is not None:
        return make(get_scale(weights, reach_I, alpha))
    candidates = [torch.ones_like(reach_I)]
    candidates += [make(get_scale(weights, reach_I, each)) for each in _ALPHAS]
    errors = [_measure(weights, rows_RI, scale_I, grid) for scale_I in candidates]
    return candidates[min(range(len(errors)), key=errors.__getitem__)]


def _measure(weights: Sequence[Tensor], rows_RI: Tensor, scale_I: Tensor, grid: Grid) -> float:
    inputs = round_rows(rows_RI / scale_I)
    return sum(
        float(
            (inputs @ round_weight(weight * scale_I, grid).dequantize().T - rows_RI @ weight.T)
            .square()
            .sum()
        )
        for weight in weights
    )
