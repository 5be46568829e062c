"""The arithmetic of one layer but attention, in plain torch: norm, linear, turning, experts.

N rows, I inputs, O outputs, E hidden width, H heads, D head width, X experts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.float8 import multiply_quantized
from engine.serve.decoder.packing import unpack_pairs
from engine.serve.decoder.weights import LinearWeights

_ROWS_OF_INT_MM = 32  # torch's CUDA kernel wants more than 16 rows


def rms_norm(rows_NE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """Root mean square norm (arXiv 1910.07467) over the last axis, computed in float32."""
    normed = F.rms_norm(rows_NE.float(), weight_E.shape, weight_E, eps)
    return normed.to(rows_NE.dtype)


def apply_linear(rows_NI: Tensor, linear: LinearWeights) -> Tensor:
    """Return N x O in the dtype of the rows."""
    if linear.kind == "dense":
        return F.linear(rows_NI, linear.weight, linear.bias)
    if linear.kind == "int8":
        assert linear.scale is not None
        if linear.has_int8_inputs:
            out = _multiply_int8(rows_NI, linear.weight, linear.scale)
        else:
            out = F.linear(rows_NI, linear.weight.to(rows_NI.dtype)).float() * linear.scale
        out = out.to(rows_NI.dtype)
        return out if linear.bias is None else out + linear.bias
    if linear.kind == "fp8":
        assert linear.scale is not None
        out = multiply_quantized(rows_NI, linear.weight, linear.scale[:, None]).to(rows_NI.dtype)
        return out if linear.bias is None else out + linear.bias
    return F.linear(rows_NI, dequantize(linear, rows_NI.dtype), linear.bias)


def dequantize(linear: LinearWeights, dtype: torch.dtype) -> Tensor:
    """Return the O x I weight in floats."""
    if linear.scale is None:
        return linear.weight.to(dtype)
    if linear.kind in ("int8", "fp8"):
        return (linear.weight.float() * linear.scale[:, None]).to(dtype)
    groups = linear.scale.shape[1]
    codes = unpack_pairs(linear.weight).unflatten(1, (groups, -1)).float()
    codes -= 8 if linear.zero is None else linear.zero[..., None].float()
    return (codes * linear.scale[..., None]).flatten(1).to(dtype)


def quantize_rows(rows_NI: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 rows and their scales, N x 1, each row by its own largest value."""
    wide = rows_NI.float()
    scale = wide.abs().amax(-1, keepdim=True).div_(127).clamp_(min=1e-12)
    return (wide / scale).round_().clamp_(-127, 127).to(torch.int8), scale


def _multiply_int8(rows_NI: Tensor, weight_OI: Tensor, scale_O: Tensor) -> Tensor:
    """Return N x O in float32, summed in int32 (W8A8: arXiv 2211.10438, section 4)."""
    rows, scale = quantize_rows(rows_NI)
    count = rows.shape[0]
    if rows.device.type == "cuda" and count < _ROWS_OF_INT_MM:
        rows = F.pad(rows, (0, 0, 0, _ROWS_OF_INT_MM - count))
    out = torch._int_mm(rows, weight_OI.T)[:count]
    return out.float() * scale * scale_O


def make_angles(
    positions_N: Tensor, frequencies: Tensor, factor: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return cosines and sines times `factor`, N x 1 x D/2 (the 1 is for heads)."""
    angles = positions_N[:, None, None].float() * frequencies
    return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)


def rotate(heads_NHD: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (i, i + D/2) by its angle (arXiv 2104.09864, as Llama lays it out)."""
    cos, sin = angles
    first, second = heads_NHD.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def activate(gate: Tensor, activation: str) -> Tensor:
    """Apply the activation of a feed-forward; the gate is changed."""
    if activation == "silu":
        return F.silu(gate, inplace=True)
    return F.gelu(gate, approximate="tanh")


def choose_experts(logits_NX: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the weights of the chosen experts, N x count, summing to one, and their indexes.

    arXiv 2401.04088, section 2.1.
    """
    weights, indexes = logits_NX.float().softmax(-1).topk(count, dim=-1)
    return weights / weights.sum(-1, keepdim=True), indexes
