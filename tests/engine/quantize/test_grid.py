"""Grids: what rounding gives back, and how far it may be off."""

import pytest
import torch

from engine.quantize.grid import Grid, round_rows, round_weight

W4 = Grid(4, 32, is_symmetric=False)


def weight(rows: int = 8, columns: int = 64) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "grid", [W4, Grid(4, 32), Grid(4, 64), Grid(8), Grid(8, scale_dtype=torch.bfloat16)]
)
def test_no_weight_moves_by_more_than_its_step(grid):
    given = weight()
    made = round_weight(given, grid)
    step = made.steps.scale_ON.repeat_interleave(given.shape[1] // made.steps.scale_ON.shape[1], 1)
    # Half a step between two values; at the ends one more half, where the grid is cut off.
    assert bool(((made.dequantize() - given).abs() <= step * 1.01).all())
    assert float((made.dequantize() - given).abs().mean()) < 0.3 * float(step.mean())


def test_values_on_the_grid_come_back_exactly():
    once = round_weight(weight(), W4).dequantize()
    assert torch.equal(round_weight(once, W4).dequantize(), once)


def test_zero_stays_zero_on_an_asymmetric_grid():
    given = weight().abs() + 1
    given[:, ::7] = 0
    assert bool((round_weight(given, W4).dequantize()[:, ::7] == 0).all())


def test_a_group_of_zeros_is_no_division_by_zero():
    for grid in (W4, Grid(4, 32), Grid(8)):
        assert bool((round_weight(torch.zeros(2, 64), grid).dequantize() == 0).all())


def test_scales_are_what_will_be_stored():
    made = round_weight(weight(), W4)
    assert torch.equal(made.steps.scale_ON.half().float(), made.steps.scale_ON)


def test_rows_are_rounded_each_by_its_own_largest_value():
    rows = torch.tensor([[1.0, -0.5, 0.004], [1000.0, -500.0, 4.1]])
    made = round_rows(rows)
    assert torch.allclose(made[0, :2], rows[0, :2], atol=1 / 254)
    assert torch.allclose(made[1] / 1000, rows[1] / 1000, atol=1 / 254)
