"""How rounded weights lie in the published checkpoint formats, and what their config.json says.

AWQ's GEMM layout, GPTQ's version 1, and compressed-tensors' `int-quantized` and `pack-quantized`.
O outputs, I inputs, N groups of a row.
"""

from typing import Any

import torch
from torch import Tensor

from engine.quantize.grid import Rounded
from engine.serve.decoder.packing import (
    pack_awq,
    pack_compressed_bytes,
    pack_gptq,
    pack_gptq_zeros,
)
from engine.specs.quality import Scheme


def pack_linear(rounded: Rounded, scheme: Scheme, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the tensors of a linear layer by the last part of their names.

    `dtype` is that of the model's other weights.
    """
    if scheme.format == "awq":
        return _pack_awq(rounded)
    if scheme.format == "gptq":
        return _pack_gptq(rounded)
    if scheme.activation_bits == 8:
        return {"weight": rounded.codes_OI, "weight_scale": rounded.steps.scale_ON.to(dtype)}
    return _pack_bytes(rounded, dtype)


def make_config(scheme: Scheme, *, head: str) -> dict[str, Any]:
    """Return `quantization_config`; `head` is the name of the output head, which stays as it is."""
    if scheme.format == "awq":
        return {
            "quant_method": "awq",
            "bits": 4,
            "group_size": scheme.group_size,
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": [head],
        }
    if scheme.format == "gptq":
        return {
            "quant_method": "gptq",
            "bits": 4,
            "group_size": scheme.group_size,
            "sym": scheme.is_symmetric,
            "desc_act": False,
            "checkpoint_format": "gptq",
            "lm_head": False,
        }
    inputs = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
    return {
        "quant_method": "compressed-tensors",
        "format": _name_compressed(scheme),
        "quantization_status": "compressed",
        "ignore": [head],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "format": _name_compressed(scheme),
                "weights": {
                    "num_bits": 8,
                    "type": "int",
                    "symmetric": True,
                    "strategy": "channel",
                    "dynamic": False,
                },
                "input_activations": inputs if scheme.activation_bits == 8 else None,
                "output_activations": None,
            }
        },
    }


def _name_compressed(scheme: Scheme) -> str:
    return "int-quantized" if scheme.activation_bits == 8 else "pack-quantized"


def _pack_awq(rounded: Rounded) -> dict[str, Tensor]:
    """`qweight` I x O/8, `qzeros` N x O/8, `scales` N x O."""
    return {
        "qweight": pack_awq(rounded.codes_OI),
        "qzeros": pack_awq(rounded.steps.zero_ON.to(torch.uint8)),
        "scales": rounded.steps.scale_ON.T.to(torch.float16).contiguous(),
    }


def _pack_gptq(rounded: Rounded) -> dict[str, Tensor]:
    """`qweight` I/8 x O, `qzeros` N x O/8, `scales` N x O, `g_idx` I: the group of each input."""
    width = rounded.codes_OI.shape[1]
    group = rounded.grid.group_size or width
    return {
        "qweight": pack_gptq(rounded.codes_OI),
        "qzeros": pack_gptq_zeros(rounded.steps.zero_ON.to(torch.uint8)),
        "scales": rounded.steps.scale_ON.T.to(torch.float16).contiguous(),
        "g_idx": (torch.arange(width) // group).to(torch.int32),
    }


def _pack_bytes(rounded: Rounded, dtype: torch.dtype) -> dict[str, Tensor]:
    """`weight_packed` O x ceil(I/4): four inputs in a word, each 128 more than its code."""
    return {
        "weight_packed": pack_compressed_bytes(rounded.codes_OI),
        "weight_scale": rounded.steps.scale_ON.to(dtype),
        "weight_shape": torch.tensor(rounded.codes_OI.shape, dtype=torch.int64),
    }
