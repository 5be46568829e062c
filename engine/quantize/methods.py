"""From a layer and what its inputs were to its rounded weights, by each method.

The layer's own weights are changed: folded scales in place, rounded ones by what their codes mean.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.quantize import awq, gptq, smooth
from engine.quantize.activations import InputStats
from engine.quantize.grid import Grid, Rounded, round_rows, round_weight
from engine.quantize.plan import InputGroup, LayerPlan, fold_scale
from engine.specs.quality import Scheme
from engine.specs.quantize import QuantizeSpec

Stats = dict[tuple[str, ...], InputStats]
"""By the names of the linear layers that share the input."""


@dataclass(frozen=True)
class Method:
    """A method with what it needs to know."""

    spec: QuantizeSpec
    grid: Grid
    has_int8_inputs: bool = False

    @property
    def wants_gram(self) -> bool:
        """Say whether it needs the inputs' second moments."""
        return self.spec.method in ("awq", "gptq")

    def quantize(
        self, layer: Any, plan: LayerPlan, stats: Stats
    ) -> tuple[dict[str, Rounded], float]:
        """Round a layer's linear weights; return them by name within it, and what that costs.

        The cost is the squared error of a linear layer's outputs as a share of the outputs' own, on
        the inputs that were kept, and the mean of that over the linear layers.
        """
        scales = {group.linears: self._fold(layer, group, stats[group.linears]) for group in plan}
        made: dict[str, Rounded] = {}
        shares: list[float] = []
        for group in plan:
            seen = stats[group.linears]
            scale_I = scales[group.linears]
            gram = None if seen.gram_II is None else seen.gram_II / scale_I[:, None] / scale_I
            for name, may_clip in zip(group.linears, group.may_clip, strict=True):
                linear = layer.get_submodule(name)
                weight = linear.weight.data
                made[name] = self._round(weight, gram, may_clip=may_clip)
                linear.weight.data = made[name].dequantize()
                shares.append(self._measure(seen.rows_RI / scale_I, weight, linear.weight.data))
        return made, sum(shares) / len(shares)

    def _fold(self, layer: Any, group: InputGroup, stats: InputStats) -> Tensor:
        """Search a group's scale, fold it in, and return it."""
        scale_I = self._search(layer, group, stats)
        if scale_I is None:
            return torch.ones_like(stats.reach_I)
        fold_scale(layer, group, scale_I)
        return scale_I

    def _round(self, weight_OI: Tensor, gram_II: Tensor | None, *, may_clip: bool) -> Rounded:
        if self.spec.method == "gptq":
            assert gram_II is not None
            return gptq.solve(weight_OI, gram_II, self.grid, damping=self.spec.damping)
        if self.spec.method == "awq" and may_clip:
            assert gram_II is not None
            return awq.clip_weight(weight_OI, gram_II, self.grid)
        return round_weight(weight_OI, self.grid)

    def _measure(self, rows_RI: Tensor, weight_OI: Tensor, rounded_OI: Tensor) -> float:
        outputs = rows_RI @ weight_OI.T
        inputs = round_rows(rows_RI) if self.has_int8_inputs else rows_RI
        wrong = (inputs @ rounded_OI.T - outputs).square().sum()
        return float(wrong / outputs.square().sum().clamp(min=1e-30))

    def _search(self, layer: Any, group: InputGroup, stats: InputStats) -> Tensor | None:
        weights = [layer.get_submodule(name).weight.data for name in group.linears]
        if self.spec.method == "awq":
            assert stats.gram_II is not None
            magnitude_I = group.merge(stats.magnitude_I)
            return awq.search_scale(weights, stats.gram_II, magnitude_I, self.grid)
        if self.spec.method == "smoothquant":
            return smooth.search_scale(
                weights,
                stats.rows_RI,
                stats.reach_I,
                self.grid,
                alpha=self.spec.alpha,
                merge=group.merge,
            )
        return None


def make_method(spec: QuantizeSpec, group_size: int, dtype: torch.dtype) -> Method:
    """Return a spec's method. `dtype` is what the artifact's other weights are stored in."""
    if spec.method in ("awq", "gptq", "rtn"):
        is_symmetric = spec.method == "gptq"  # its fastest kernels take no zeros
        return Method(spec, Grid(4, group_size, is_symmetric, torch.float16))
    return Method(spec, Grid(8, 0, True, dtype), has_int8_inputs=spec.method == "smoothquant")


def describe(method: Method) -> Scheme:
    """Return how a method's weights are held."""
    name, grid = method.spec.method, method.grid
    return Scheme(
        method=name,
        format={"awq": "awq", "rtn": "awq", "gptq": "gptq"}.get(name, "compressed-tensors"),
        weight_bits=grid.bits,
        activation_bits=8 if method.has_int8_inputs else 16,
        group_size=grid.group_size,
        is_symmetric=grid.is_symmetric,
    )
