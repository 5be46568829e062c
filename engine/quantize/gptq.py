"""GPTQ (arXiv 2210.17323): round column after column, each error made good by the columns to come.

The blocked form with the Cholesky factor of the inverse (algorithm 1), columns in their own order.
O outputs, I inputs.
"""

import torch
from torch import Tensor

from engine.errors import EngineError
from engine.quantize.grid import Grid, Rounded, Steps, fit_steps, round_groups
from engine.status import Reason

_BLOCK = 128  # columns whose later ones are updated at once (section 3.3, step 2)


def solve(weight_OI: Tensor, gram_II: Tensor, grid: Grid, *, damping: float) -> Rounded:
    """Round a weight so that its outputs on the inputs of `gram_II` err little.

    `gram_II` is the sum of x x^T over inputs; `damping` is the share of its mean diagonal that is
    added to it (section 3.3, step 3). Both weight and moments are left as they were.
    """
    weight_OI = weight_OI.clone()
    gram_II = gram_II.clone()
    dead_I = gram_II.diagonal() == 0  # inputs that never were: their weights count for nothing
    gram_II.diagonal()[dead_I] = 1
    weight_OI[:, dead_I] = 0
    upper_II = factor_inverse(gram_II, damping)
    width = grid.group_size or weight_OI.shape[1]
    codes_OI = torch.empty_like(weight_OI)
    steps: list[Steps] = []
    for start in range(0, weight_OI.shape[1], _BLOCK):
        end = min(start + _BLOCK, weight_OI.shape[1])
        errors = torch.empty_like(weight_OI[:, start:end])
        for column in range(start, end):
            if column % width == 0:
                steps.append(fit_steps(weight_OI[:, None, column : column + width], grid))
            old = weight_OI[:, column].clone()
            codes, new = _round_column(old, steps[-1], grid)
            codes_OI[:, column] = codes
            error = (old - new) / upper_II[column, column]
            weight_OI[:, column:end] -= error[:, None] * upper_II[None, column, column:end]
            errors[:, column - start] = error
        weight_OI[:, end:] -= errors @ upper_II[start:end, end:]
    kept = Steps(
        torch.cat([each.scale_ON for each in steps], dim=1),
        torch.cat([each.zero_ON for each in steps], dim=1),
    )
    return Rounded(grid, codes_OI.to(torch.uint8 if grid.bits == 4 else torch.int8), kept)


def factor_inverse(gram_II: Tensor, damping: float) -> Tensor:
    """Return the upper Cholesky factor of the damped moments' inverse. The damping stays in them.

    More is added, ten times each, where rounding has left them without one.

    Raises:
        EngineError: internal_error, for moments that are no numbers.
    """
    given_I = gram_II.diagonal().clone()
    while damping <= 10:
        gram_II.diagonal().copy_(given_I + damping * given_I.mean())
        factor, info = torch.linalg.cholesky_ex(gram_II)
        if int(info) == 0:
            factor = torch.cholesky_inverse(factor)
            upper, info = torch.linalg.cholesky_ex(factor, upper=True)
            if int(info) == 0:
                return upper
        damping *= 10
    raise EngineError(
        Reason.INTERNAL_ERROR,
        "The inputs of a layer are no finite numbers: the model overflows on the calibration data.",
    )


def _round_column(column_O: Tensor, steps: Steps, grid: Grid) -> tuple[Tensor, Tensor]:
    codes = round_groups(column_O[:, None, None], steps, grid)[:, 0, 0]
    return codes, (codes - steps.zero_ON[:, 0]) * steps.scale_ON[:, 0]
