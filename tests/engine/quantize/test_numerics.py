"""AWQ, GPTQ and SmoothQuant against plain float64 versions, and against rounding to nearest."""

import numpy as np
import pytest
import torch

from engine.errors import EngineError
from engine.quantize import awq, gptq, smooth
from engine.quantize.activations import Activations, InputStats
from engine.quantize.grid import Grid, round_rows, round_weight
from engine.quantize.plan import AfterLinear, AfterNorm, InputGroup

ROWS, INPUTS, OUTPUTS = 400, 64, 24
GRID = Grid(4, 32, is_symmetric=False, scale_dtype=torch.float64)


@pytest.fixture(scope="module")
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs that go together, some far larger than others; a weight; the inputs' moments."""
    generator = torch.Generator().manual_seed(5)
    mix = torch.randn(INPUTS, INPUTS, generator=generator)
    rows = torch.randn(ROWS, INPUTS, generator=generator) @ mix / 8
    rows[:, :3] *= 30
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator) / 8
    return rows, weight, rows.T @ rows


def output_error(rows: torch.Tensor, weight: torch.Tensor, rounded: torch.Tensor) -> float:
    return float((rows @ (rounded - weight).T).square().sum())


def round_naively(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of a group, O x G: scale and zero."""
    low, high = np.minimum(columns.min(1), 0), np.maximum(columns.max(1), 0)
    scale = np.maximum((high - low) / 15, 1e-7).astype(np.float32).astype(np.float64)
    return scale, np.clip(np.round(-low / scale), 0, 15)


def test_gptq_is_the_column_by_column_method_with_the_inverse_kept_up_to_date(case):
    _, weight, gram = case
    left = weight.double().numpy().copy()
    moments = gram.double().numpy()
    inverse = np.linalg.inv(moments + 0.01 * moments.diagonal().mean() * np.eye(INPUTS))
    wanted = np.zeros_like(left)
    for column in range(INPUTS):
        if column % 32 == 0:
            scale, zero = round_naively(left[:, column : column + 32])
        codes = np.clip(np.round(left[:, column] / scale) + zero, 0, 15)
        wanted[:, column] = (codes - zero) * scale
        error = (left[:, column] - wanted[:, column]) / inverse[column, column]
        left[:, column:] -= error[:, None] * inverse[column, column:]
        # Take the column out of the inverse: one step of Gauss' elimination (OBS, equation 3).
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    made = gptq.solve(weight.double(), gram.double(), GRID, damping=0.01)
    # Float32 scales, as they are kept: a code at the brink may fall to either side.
    wrong = np.abs(made.dequantize().double().numpy() - wanted) > 1e-4
    assert wrong.mean() < 0.02


def test_gptq_errs_less_than_rounding_to_nearest(case):
    rows, weight, gram = case
    plain = round_weight(weight, GRID).dequantize()
    solved = gptq.solve(weight, gram, GRID, damping=0.01).dequantize()
    assert output_error(rows, weight, solved) < 0.5 * output_error(rows, weight, plain)


def test_gptq_takes_inputs_that_never_were(case):
    _, weight, gram = case
    silent = gram.clone()
    silent[5], silent[:, 5] = 0, 0
    made = gptq.solve(weight, silent, GRID, damping=0.01)
    assert bool(made.dequantize().isfinite().all())


def test_moments_that_are_no_numbers_are_said(case):
    _, weight, gram = case
    with pytest.raises(EngineError, match="overflows"):
        gptq.solve(weight, gram * float("nan"), GRID, damping=0.01)


def test_the_error_by_moments_is_the_error_of_the_outputs(case):
    rows, weight, gram = case
    delta = round_weight(weight, GRID).dequantize() - weight
    wanted = np.square(rows.double().numpy() @ delta.double().numpy().T).sum()
    assert awq.measure_error(delta, gram) == pytest.approx(wanted, rel=1e-3)


def test_awq_takes_the_scale_that_a_plain_search_takes(case):
    rows, weight, gram = case
    magnitude = rows.abs().mean(0)
    best, least = np.ones(INPUTS), np.inf
    for step in range(20):
        scale = np.maximum(magnitude.double().numpy() ** (step / 20), 1e-4)
        scale /= np.sqrt(scale.max() * scale.min())
        scaled = torch.from_numpy(weight.double().numpy() * scale)
        rounded = round_weight(scaled, GRID).dequantize().double().numpy() / scale
        error = np.square(rows.double().numpy() @ (rounded - weight.double().numpy()).T).sum()
        if error < least:
            best, least = scale, error
    made = awq.search_scale([weight], gram, magnitude, GRID)
    assert np.allclose(made.numpy(), best, rtol=1e-4)
    assert not np.allclose(best, 1)  # there was something to find


def test_awq_errs_less_than_rounding_to_nearest(case):
    rows, weight, gram = case
    scale = awq.search_scale([weight], gram, rows.abs().mean(0), GRID)
    scaled_gram = gram / scale[:, None] / scale
    rounded = awq.clip_weight(weight * scale, scaled_gram, GRID).dequantize() / scale
    plain = round_weight(weight, GRID).dequantize()
    assert output_error(rows, weight, rounded) < 0.6 * output_error(rows, weight, plain)


def test_clipping_is_the_best_of_all_ranges_group_by_group(case):
    rows, weight, gram = case
    made = awq.clip_weight(weight, gram, GRID).dequantize()
    for group in range(INPUTS // 32):
        where = slice(32 * group, 32 * (group + 1))
        parts = rows[:, where].double()
        errors = []
        for shrink in (1 - step / 20 for step in range(11)):
            bound = weight[:, where].abs().amax(1, keepdim=True) * shrink
            clipped = round_weight(weight[:, where].clamp(-bound, bound), GRID)
            again = round_weight(weight[:, where], GRID, clipped.steps).dequantize()
            errors.append((parts @ (again - weight[:, where]).double().T).square().sum(0))
        found = (parts @ (made[:, where] - weight[:, where]).double().T).square().sum(0)
        assert torch.allclose(found, torch.stack(errors).amin(0), rtol=1e-3)


def test_smoothing_is_equation_four_and_errs_less_than_plain_rounding(case):
    rows, weight, _ = case
    reach = rows.abs().amax(0)
    half = smooth.get_scale([weight], reach, 0.5)
    wanted = np.sqrt(reach.numpy()) / np.sqrt(weight.abs().amax(0).numpy())
    assert np.allclose(half.numpy(), wanted, rtol=1e-4)
    grid = Grid(8)

    def error(scale: torch.Tensor) -> float:
        rounded = round_weight(weight * scale, grid).dequantize()
        return float((round_rows(rows / scale) @ rounded.T - rows @ weight.T).square().sum())

    found = smooth.search_scale([weight], rows, reach, grid, alpha=None)
    assert error(found) < 0.5 * error(torch.ones(INPUTS))
    assert error(found) <= error(half)
    assert torch.equal(smooth.search_scale([weight], rows, reach, grid, alpha=0.5), half)


def test_inputs_of_one_output_share_a_scale():
    rows = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])
    group = InputGroup(("o",), AfterLinear("v", rows), (True,))
    merged = group.merge(torch.tensor([1.0, 2, 4, 8, 9, 1, 1, 1]))
    assert torch.allclose(merged, torch.tensor([2.0, 4, 2, 4, 3, 1, 3, 1]))
    free = InputGroup(("q",), AfterNorm("norm"), (True,))
    assert torch.equal(free.merge(torch.arange(3.0)), torch.arange(3.0))


def test_what_is_remembered_of_inputs_is_theirs():
    generator = torch.Generator().manual_seed(0)
    chunks = [torch.randn(2, 5, 8, generator=generator) for _ in range(3)]
    stats = InputStats(8, torch.device("cpu"), num_chunks=3, has_gram=True)
    for chunk in chunks:
        stats.add(chunk)
    rows = torch.cat([chunk.reshape(-1, 8) for chunk in chunks])
    assert stats.gram_II is not None
    assert torch.allclose(stats.gram_II, rows.T @ rows, atol=1e-5)
    assert torch.allclose(stats.magnitude_I, rows.abs().mean(0))
    assert torch.equal(stats.reach_I, rows.abs().amax(0))
    assert torch.equal(stats.rows_RI, rows)  # fewer than are kept at most


def test_activations_in_a_file_are_those_in_memory(tmp_path, monkeypatch):
    ids = torch.zeros(5, 16, dtype=torch.long)
    with Activations(ids, 8, tmp_path) as memory:
        monkeypatch.setattr("engine.quantize.activations.IN_MEMORY_BYTES", 0)
        monkeypatch.setattr("engine.quantize.activations.CHUNK_TOKENS", 32)
        with Activations(ids, 8, tmp_path) as spilled:
            assert [chunk.stop - chunk.start for chunk in spilled.list_chunks()] == [2, 2, 1]
            for stream in (memory, spilled):
                for chunk in stream.list_chunks():
                    count = chunk.stop - chunk.start
                    values = torch.arange(chunk.start, chunk.stop).float()
                    stream.write(chunk, values[:, None, None].expand(count, 16, 8))
            whole = torch.cat([hidden for _, hidden in spilled.iter_chunks()])
            assert torch.equal(whole, memory.read(slice(0, 5)))
    assert list(tmp_path.iterdir()) == []
