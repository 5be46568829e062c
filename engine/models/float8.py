"""Matrices in 8-bit floats (e4m3, largest 448), each row with a scale of its own.

Rowwise as in torch's float8 (the formats: arXiv 2209.05433). M rows of an input, N outputs, K
inputs.
"""

import torch
from torch import Tensor

from engine.errors import EngineError
from engine.status import Reason

FLOAT8 = torch.float8_e4m3fn
MULTIPLE = 16
"""Of both sides of what tensor cores take."""
_LARGEST = torch.finfo(FLOAT8).max
_SINCE = (8, 9)  # CUDA capability of the first GPUs that multiply float8: Ada, then Hopper


def has_fp8(device: torch.device) -> bool:
    """Say whether a device multiplies 8-bit floats."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _SINCE


def require_fp8(device: torch.device) -> None:
    """Refuse a device that does not multiply 8-bit floats.

    Raises:
        EngineError: bad_spec, with the mend.
    """
    if not has_fp8(device):
        raise EngineError(
            Reason.BAD_SPEC,
            "precision: fp8 needs a GPU that multiplies 8-bit floats, such as an H100 or an L40: "
            "take bf16.",
        )


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values in float8, and the number (float32, one a row) by which each row is divided."""
    largest = values.abs().amax(dim=1, keepdim=True).float()
    scale = largest.clamp(min=torch.finfo(torch.float32).tiny * _LARGEST) / _LARGEST
    return (values.float() / scale).clamp(-_LARGEST, _LARGEST).to(FLOAT8), scale


def multiply_quantized(rows_MK: Tensor, weight_NK: Tensor, scale_N1: Tensor) -> Tensor:
    """Return `rows @ weight.T` in bfloat16; the rows are quantized here, each by itself."""
    rows, scale = quantize_rows(rows_MK)
    if rows.is_cuda:
        product: Tensor = torch._scaled_mm(
            rows, weight_NK.T, scale_a=scale, scale_b=scale_N1.T, out_dtype=torch.bfloat16
        )
        return product
    return ((rows.float() * scale) @ (weight_NK.float() * scale_N1).T).bfloat16()
