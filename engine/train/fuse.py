"""Has a model's norms, gates and rotations be one kernel each where it computes in bfloat16.

A part is taken for what it is called only if it computes that: its answer for some numbers is
compared first. What is unusual at a call (another type or device, weights that are spread) goes
through the model's own code.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.train.native import load_kernels, suits
from engine.train.rows import gate_rows, norm_rows, rotate_rows

_FLOATS = (torch.float32, torch.bfloat16)
_GATED = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
"""How families call the three matrices of a gated layer: gate, carry, bring back."""


_ROTATE = "apply_rotary_pos_emb"
"""What modelling files of transformers call the function that turns queries and keys."""


def fuse_rows(model: nn.Module) -> None:
    """Have every RMSNorm, SwiGLU and rotation of a model be computed so, in place.

    The rotation is a function of the file that the model's code is in: it is replaced there, for
    all models of this family in the process.
    """
    if load_kernels() is None:
        return
    for name in {type(module).__module__ for module in model.modules()}:
        own = getattr(sys.modules[name], _ROTATE, None)
        is_ours = isinstance(own, functools.partial) and own.func is _turn
        if own is not None and not is_ours and _turns_halves(own):
            setattr(sys.modules[name], _ROTATE, functools.partial(_turn, own))
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and _is_plain_norm(module):
            own = module.forward
            module.forward = functools.partial(_norm, module, own)
            continue
        names = next((n for n in _GATED if all(hasattr(module, each) for each in n)), None)
        if names is not None and _is_plain_gate(module, names):
            module.forward = functools.partial(_gate, *(getattr(module, each) for each in names))


def _norm(module: Any, own: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    weight_E = module.weight
    is_bf16 = torch.is_autocast_enabled("cpu") or rows.dtype == torch.bfloat16
    if not is_bf16 or rows.dtype not in _FLOATS or not suits(rows, weight_E):
        return own(rows)
    return norm_rows(rows, weight_E, _get_eps(module))


def _gate(gate: nn.Module, up: nn.Module, down: nn.Module, rows: Tensor) -> Tensor:
    out: Tensor = down(gate_rows(gate(rows), up(rows)))
    return out


def _turn(
    own: Callable[..., tuple[Tensor, Tensor]],
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    cos_BTD: Tensor,
    sin_BTD: Tensor,
    *rest: Any,
    **named: Any,
) -> tuple[Tensor, Tensor]:
    both = (query_BHTD, key_BKTD)
    is_usual = (
        not (rest or named)
        and all(x.dtype == torch.bfloat16 and x.shape[0] == 1 for x in both)
        and all(x.shape == (1, *query_BHTD.shape[2:]) for x in (cos_BTD, sin_BTD))
        and suits(*both, cos_BTD, sin_BTD)
    )
    if not is_usual:
        return own(query_BHTD, key_BKTD, cos_BTD, sin_BTD, *rest, **named)
    turned = [rotate_rows(x[0].transpose(0, 1), cos_BTD[0], sin_BTD[0]) for x in both]
    return turned[0].transpose(0, 1)[None], turned[1].transpose(0, 1)[None]


def _turns_halves(own: Callable[..., Any]) -> bool:
    """Say whether a function turns the pairs (d, d + D/2) of all of a head."""
    heads = torch.linspace(-3, 2, 2 * 3 * 8).view(1, 2, 3, 8)
    angles = torch.linspace(0, 3, 3 * 4).view(1, 3, 4).repeat(1, 1, 2)
    cos, sin = angles.cos(), angles.sin()
    first, second = heads.chunk(2, dim=-1)
    wanted = heads * cos[:, None] + torch.cat([-second, first], -1) * sin[:, None]
    try:
        found = own(heads, heads, cos, sin)
    except (TypeError, RuntimeError):  # it takes other things
        return False
    return all(torch.allclose(x, wanted, atol=1e-5) for x in found)


def _get_eps(module: Any) -> float:
    return float(getattr(module, "variance_epsilon", None) or module.eps)


def _is_plain_norm(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    has_eps = hasattr(module, "variance_epsilon") or hasattr(module, "eps")
    if weight is None or weight.ndim != 1 or weight.dtype not in _FLOATS or not has_eps:
        return False
    if weight.device.type != "cpu":
        return False
    with torch.no_grad():
        rows = torch.linspace(-3, 2, 2 * len(weight)).view(2, -1)
        wanted = F.rms_norm(rows, weight.shape, weight.float(), _get_eps(module))
        return torch.allclose(module(rows).float(), wanted, rtol=1e-2, atol=1e-3)


def _is_plain_gate(module: nn.Module, names: tuple[str, ...]) -> bool:
    if any(isinstance(part, nn.Dropout) and part.p > 0 for part in module.modules()):
        return False
    gate, up, down = (getattr(module, each) for each in names)
    weight = next(module.parameters())
    if weight.device.type != "cpu" or not hasattr(gate, "in_features"):
        return False
    with torch.no_grad():
        rows = torch.linspace(-3, 2, 2 * gate.in_features, dtype=weight.dtype).view(2, -1)
        wanted = down(F.silu(gate(rows)) * up(rows))
        return torch.allclose(module(rows), wanted, rtol=1e-3, atol=1e-5)
