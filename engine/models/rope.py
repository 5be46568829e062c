"""Rotary positions (arXiv 2104.09864) for the models of this folder, without a state between calls.

Not transformers' class: its dynamic scaling keeps the longest sequence it has seen, so that a
result depends on what was computed before. B batch, T positions, R rotated width, D head width.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

# Written by us as transformers 5 keeps them; published checkpoints have the two older keys.
_PARAMETERS, _THETA, _SCALING = "rope_parameters", "rope_theta", "rope_scaling"
# transformers has a few more; they choose anew between two sets of frequencies at each call.
_KINDS = ("default", "linear", "dynamic", "yarn", "llama3")


class RotaryEmbedding(nn.Module):
    """Turns positions into the cosines and sines of each rotated pair.

    `config` has `rope_parameters`, or `rope_theta` and `rotary_width` where a model scales nothing.
    The names of its buffers are those that transformers fills again after loading.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.rope_type = (getattr(config, _PARAMETERS, None) or {}).get("rope_type", "default")
        if self.rope_type not in _KINDS:
            raise ValueError(f"rope_scaling is {self.rope_type}; known are {', '.join(_KINDS)}")
        make: Callable[..., tuple[Tensor, float]] = self.compute_default_rope_parameters
        if self.rope_type != "default":
            make = ROPE_INIT_FUNCTIONS[self.rope_type]
        frequencies, self.attention_scaling = make(config)
        self.inv_freq = nn.Buffer(frequencies, persistent=False)
        self.original_inv_freq = nn.Buffer(frequencies.clone(), persistent=False)

    @staticmethod
    def compute_default_rope_parameters(config: Any, **ignored: Any) -> tuple[Tensor, float]:
        """Return the R/2 frequencies without scaling, and 1: `theta ** (-2i / R)`."""
        parameters = getattr(config, _PARAMETERS, None) or {}
        theta = parameters.get("rope_theta") or config.rope_theta
        width = getattr(config, "rotary_width", None) or config.head_dim
        return _frequencies(theta, width), 1.0

    @torch.no_grad()
    def forward(self, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, B x T x R/2, in float32."""
        frequencies = self.inv_freq.float()
        if self.rope_type == "dynamic":
            frequencies = self._stretch(positions_BT)
        with torch.autocast(positions_BT.device.type, enabled=False):
            angles = positions_BT[..., None].float() * frequencies
        return angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling

    def _stretch(self, positions_BT: Tensor) -> Tensor:
        """Return B x T x R/2 frequencies of dynamic NTK scaling, by the length of each sequence.

        As the published InternLM2: beyond the trained window, theta grows with the length by
        `(factor * length / window - (factor - 1)) ** (R / (R - 2))`.
        """
        parameters, window = self.config.rope_parameters, self.config.max_position_embeddings
        width = 2 * self.inv_freq.shape[0]
        length_BT = _measure_runs(positions_BT).clamp(min=window).float()
        growth_BT = parameters["factor"] * length_BT / window - (parameters["factor"] - 1)
        theta_BT = parameters["rope_theta"] * growth_BT ** (width / (width - 2))
        exponents = torch.arange(0, width, 2, device=positions_BT.device).float() / width
        return theta_BT[..., None] ** -exponents


def _measure_runs(positions_BT: Tensor) -> Tensor:
    """Return for each position the length of its sequence; one begins where positions go back.

    Packed samples so have their own lengths, as each alone would. Samples that share a beginning
    are read as the first of them with it, and the rest.
    """
    goes_back = positions_BT[:, 1:] <= positions_BT[:, :-1]
    run_BT = F.pad(goes_back.long().cumsum(dim=1), (1, 0))
    longest = torch.zeros_like(positions_BT).scatter_reduce(1, run_BT, positions_BT, "amax")
    return longest.gather(1, run_BT) + 1


def rotate_halves(values_BHTD: Tensor, cos_BTR: Tensor, sin_BTR: Tensor) -> Tensor:
    """Turn each pair (i, i + D/2) by its angle, as Llama lays its heads out."""
    cos, sin = (x[:, None].to(values_BHTD.dtype) for x in (cos_BTR, sin_BTR))
    first, second = values_BHTD.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rotate_neighbours(values_BHTD: Tensor, cos_BTR: Tensor, sin_BTR: Tensor) -> Tensor:
    """Turn each pair (2i, 2i + 1) of the first R of a head by its angle; leave the rest."""
    width = 2 * cos_BTR.shape[-1]
    cos, sin = (x[:, None].to(values_BHTD.dtype) for x in (cos_BTR, sin_BTR))
    turned, kept = values_BHTD[..., :width], values_BHTD[..., width:]
    even, odd = turned[..., ::2], turned[..., 1::2]
    pairs = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return torch.cat([pairs.flatten(-2), kept], dim=-1)


def to_published_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Give a config's dictionary the keys of published files, and no names of code files.

    `rope_theta` and `rope_scaling` ({"type": ..., "factor": ...} or None) for `rope_parameters`.
    """
    values.pop("auto_map", None)  # names code that is not in the folder we write
    parameters = values.pop(_PARAMETERS, None)
    if parameters is None:
        return values
    rest = {
        key: value for key, value in parameters.items() if key not in ("rope_theta", "rope_type")
    }
    kind = parameters.get("rope_type", "default")
    scaling = {**rest, "type": kind} if kind != "default" else None
    return {**values, _THETA: parameters["rope_theta"], _SCALING: scaling}


def _frequencies(theta: float, width: int) -> Tensor:
    return theta ** -(torch.arange(0, width, 2, dtype=torch.float32) / width)
