"""AdamW that remembers at one byte a number (arXiv 2110.02861): blockwise, on a dynamic scale.

Both moments of a matrix are kept in blocks of 256 numbers, each with its largest in float32 and
one of 256 levels for each number. Small tensors and embeddings stay float32, as in the
paper (sections 2.3 and 3). A checkpoint holds moments in float32: to quantize them again gives the
same bytes where the same process has the same part.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor

BLOCK = 256
SMALLEST = 4096  # numbers of a tensor that is worth it; section 3 of the paper's code
_DECADES = 7  # of the dynamic scale, whose first bits tell the exponent
_AT_ONCE = 2**22  # numbers that are float32 at a time

Moments = dict[str, Any]


def make_levels(*, is_signed: bool) -> Tensor:
    """Return the 256 levels of dynamic quantization in [-1, 1] or [0, 1], in order (section 1.3).

    Each decade below 1 has twice the levels of the next lower one.
    """
    levels = [0.0, 1.0]
    for decade in range(_DECADES):
        number = 2**decade * (1 if is_signed else 2)
        borders = torch.linspace(0.1, 1, number + 1, dtype=torch.float64)
        middles = (borders[1:] + borders[:-1]) / 2 * 10.0 ** (decade + 1 - _DECADES)
        levels += middles.tolist() + ((-middles).tolist() if is_signed else [])
    return torch.tensor(sorted(levels), dtype=torch.float32)


def quantize_blocks(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Return flat codes (uint8, with filling) and each block's largest number (float32).

    The largest keeps its sign: 1 is a level and -1 is none, so it alone comes back exactly.
    """
    num_blocks = math.ceil(values.numel() / BLOCK)  # 0 where a spread weight has nothing here
    flat = F.pad(values.flatten(), (0, -values.numel() % BLOCK)).view(num_blocks, BLOCK)
    largest = flat.gather(1, flat.abs().argmax(dim=1, keepdim=True))[:, 0]
    relative = flat / torch.where(largest == 0, 1, largest)[:, None]
    borders = (levels[1:] + levels[:-1]) / 2
    return torch.bucketize(relative, borders, out_int32=True).to(torch.uint8).flatten(), largest


def dequantize_blocks(codes: Tensor, largest: Tensor, levels: Tensor) -> Tensor:
    """Return the flat numbers in float32, filling included."""
    values = levels[codes.int()].view(largest.numel(), BLOCK)
    return (values * largest[:, None]).flatten()


class AdamW8bit(torch.optim.Optimizer):
    """AdamW (arXiv 1711.05101) over float32 weights; of a spread one each process has its part.

    A group with `keeps_float32` remembers in float32, whatever the sizes.
    """

    def __init__(self, groups: list[dict[str, Any]], *, betas: tuple[float, float]) -> None:
        """Take groups with `weight_decay`."""
        super().__init__(groups, {"lr": 0.0, "betas": betas, "eps": 1e-8, "keeps_float32": False})
        self._levels: dict[tuple[torch.device, bool], Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change the weights by their gradients."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(group, parameter, parameter.grad)

    def read_moments(self, parameter: Tensor) -> Moments:
        """Return what is remembered of a weight in float32, spread as the weight is."""
        state = self.state[parameter]
        found: Moments = {"step": state["step"]}
        for key, is_signed in _MOMENTS.items():
            part = state.get(key)
            if part is None:
                codes, largest = state[f"{key}_codes"], state[f"{key}_largest"]
                levels = self._get_levels(codes.device, is_signed=is_signed)
                local = _local(parameter)
                part = dequantize_blocks(codes, largest, levels)[: local.numel()].view_as(local)
            found[key] = _like(part, parameter)
        return found

    def take_moments(self, parameter: Tensor, moments: Moments) -> None:
        """Remember what `read_moments` returned, here or where the weight was spread otherwise."""
        group = next(g for g in self.param_groups if any(p is parameter for p in g["params"]))
        state = {"step": moments["step"].clone()}
        for key in _MOMENTS:
            state |= self._pack(key, _local(moments[key]), self._is_packed(group, parameter))
        self.state[parameter] = state

    def _is_packed(self, group: dict[str, Any], parameter: Tensor) -> bool:
        return not group["keeps_float32"] and parameter.numel() >= SMALLEST

    def _change(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor) -> None:
        weight, grad = _local(parameter), _local(gradient)
        is_packed = self._is_packed(group, parameter)
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            for key in _MOMENTS:
                state |= self._pack(key, torch.zeros_like(weight), is_packed)
        state["step"] += 1
        count = float(state["step"])
        if not is_packed:
            moments = [state[key] for key in _MOMENTS]
            _adam(weight, grad, (moments[0], moments[1]), count, group)
            return
        flat, flat_grad = weight.view(-1), grad.reshape(-1)
        for start in range(0, flat.numel(), _AT_ONCE):
            end = min(flat.numel(), start + _AT_ONCE)
            blocks = slice(start // BLOCK, math.ceil(end / BLOCK))
            places = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
            opened = []
            for key, is_signed in _MOMENTS.items():
                levels = self._get_levels(flat.device, is_signed=is_signed)
                codes, largest = state[f"{key}_codes"][places], state[f"{key}_largest"][blocks]
                opened.append(dequantize_blocks(codes, largest, levels)[: end - start])
            _adam(flat[start:end], flat_grad[start:end], (opened[0], opened[1]), count, group)
            for (key, is_signed), part in zip(_MOMENTS.items(), opened, strict=True):
                levels = self._get_levels(flat.device, is_signed=is_signed)
                codes, largest = quantize_blocks(part, levels)
                state[f"{key}_codes"][places] = codes
                state[f"{key}_largest"][blocks] = largest

    def _pack(self, key: str, values: Tensor, is_packed: bool) -> dict[str, Tensor]:
        if not is_packed:
            return {key: values.float().clone()}
        levels = self._get_levels(values.device, is_signed=_MOMENTS[key])
        codes, largest = quantize_blocks(values.float(), levels)
        return {f"{key}_codes": codes, f"{key}_largest": largest}

    def _get_levels(self, device: torch.device, *, is_signed: bool) -> Tensor:
        key = (device, is_signed)
        if key not in self._levels:
            self._levels[key] = make_levels(is_signed=is_signed).to(device)
        return self._levels[key]


_MOMENTS = {"exp_avg": True, "exp_avg_sq": False}
"""AdamW's names of its moments, and whether they have a sign."""


def _adam(
    weight: Tensor,
    grad: Tensor,
    moments: tuple[Tensor, Tensor],
    count: float,
    group: dict[str, Any],
) -> None:
    """One step of AdamW in place, as torch does it."""
    first, second = moments
    beta1, beta2 = group["betas"]
    grad = grad.float()
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    first.lerp_(grad, 1 - beta1)
    second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    root = (second / (1 - beta2**count)).sqrt_().add_(group["eps"])
    weight.addcdiv_(first, root, value=-group["lr"] / (1 - beta1**count))


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _like(part: Tensor, parameter: Tensor) -> Tensor:
    """Return a part as a tensor that is spread as the parameter is."""
    if not isinstance(parameter, DTensor):
        return part
    return DTensor.from_local(
        part,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
