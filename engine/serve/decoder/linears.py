"""One linear layer out of a checkpoint, in whichever published format it lies there.

AutoAWQ's "gemm" version, AutoGPTQ's two, compressed-tensors' int-quantized, float-quantized and
pack-quantized, LMDeploy's smooth_quant, and the 4-bit types of GGUF. A layer that its file holds in
floats is dense, whatever config.json says: all formats leave some layers out. O outputs, I inputs,
G groups of inputs.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from engine.models.float8 import FLOAT8
from engine.serve.decoder.checkpoint import Checkpoint
from engine.serve.decoder.packing import (
    WORD,
    pack_pairs,
    unpack_awq,
    unpack_compressed,
    unpack_compressed_bytes,
    unpack_compressed_zeros,
    unpack_gptq,
    unpack_gptq_zeros,
)
from engine.serve.decoder.weights import LinearWeights

Refuse = Callable[[str], Exception]
_MIDDLE = 8
"""The zero point of a symmetric 4-bit layer."""


class LinearReader:
    """Reads the linear layers of one checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, config: Any, dtype: torch.dtype, refuse: Refuse
    ) -> None:
        self._checkpoint = checkpoint
        self._dtype = dtype
        self._refuse = refuse
        self._quantization = _read_quantization(config, refuse)
        self._method = self._quantization.get("quant_method")

    def read(
        self, name: str, outputs: int, inputs: int, *, has_bias: bool = False
    ) -> LinearWeights:
        """Return the layer of that name. With `has_bias` a bias must be there, else it may.

        Raises:
            EngineError: bad_model, when a tensor is missing, misshapen, or in another format.
        """
        linear = self._read_weight(name, outputs, inputs)
        if has_bias or self._checkpoint.has(f"{name}.bias"):
            bias = self._checkpoint.read(f"{name}.bias", (outputs,), self._dtype)
            linear = replace(linear, bias=bias)
        return linear

    def _read_weight(self, name: str, outputs: int, inputs: int) -> LinearWeights:
        has = self._checkpoint.has
        if self._method == "gguf":
            grid = self._checkpoint.read_grid(f"{name}.weight", (outputs, inputs))
            if grid is not None:
                return LinearWeights("int4", pack_pairs(grid.codes), grid.scales, grid.zeros)
        if self._method == "awq" and has(f"{name}.qweight"):
            return self._read_awq(name, outputs, inputs)
        if self._method == "gptq" and has(f"{name}.qweight"):
            return self._read_gptq(name, outputs, inputs)
        if self._method == "compressed-tensors" and has(f"{name}.weight_packed"):
            return self._read_packed(name, outputs, inputs)
        for suffix in ("weight_scale", "scale"):
            if self._method is not None and has(f"{name}.{suffix}"):
                return self._read_bytes(name, outputs, inputs, suffix)
        weight = self._checkpoint.read(f"{name}.weight", (outputs, inputs), self._dtype)
        if not weight.is_floating_point():
            raise self._refuse(f"{name}.weight is {weight.dtype} and config.json does not say how")
        return LinearWeights("dense", weight)

    def _read_awq(self, name: str, outputs: int, inputs: int) -> LinearWeights:
        words, groups = outputs // WORD, self._count_groups(name, outputs, inputs)
        read = self._checkpoint.read
        codes = unpack_awq(read(f"{name}.qweight", (inputs, words)))
        zeros = None
        if self._checkpoint.has(f"{name}.qzeros"):
            zeros = unpack_awq(read(f"{name}.qzeros", (groups, words)))
        scales = read(f"{name}.scales", (groups, outputs), torch.float32)
        return _make_int4(codes, scales.T, zeros)

    def _read_gptq(self, name: str, outputs: int, inputs: int) -> LinearWeights:
        groups, read = self._count_groups(name, outputs, inputs), self._checkpoint.read
        codes = unpack_gptq(read(f"{name}.qweight", (inputs // WORD, outputs)))
        zeros = unpack_gptq_zeros(
            read(f"{name}.qzeros", (groups, outputs // WORD)),
            is_first_format=self._quantization.get("checkpoint_format") != "gptq_v2",
        )
        scales = read(f"{name}.scales", (groups, outputs), torch.float32)
        if self._checkpoint.has(f"{name}.g_idx"):
            order = read(f"{name}.g_idx", (inputs,))
            if not torch.equal(order.long(), torch.arange(inputs) * groups // inputs):
                raise self._refuse(f"{name}.g_idx reorders its inputs (desc_act): not followed")
        return _make_int4(codes, scales.T, zeros)

    def _read_packed(self, name: str, outputs: int, inputs: int) -> LinearWeights:
        read = self._checkpoint.read
        if self._checkpoint.has(f"{name}.weight_g_idx"):
            raise self._refuse(f"{name}.weight_g_idx reorders its inputs: not followed")
        shape = read(f"{name}.weight_shape", (2,)).tolist()
        if shape != [outputs, inputs]:
            raise self._refuse(f"{name}.weight_shape says {shape}, not {[outputs, inputs]}")
        if self._quantization["bits"] == 8:
            words = read(f"{name}.weight_packed", (outputs, -(-inputs // 4)))
            scale = read(f"{name}.weight_scale", (outputs, 1), torch.float32).flatten()
            return LinearWeights("int8", unpack_compressed_bytes(words, inputs), scale=scale)
        codes = unpack_compressed(
            read(f"{name}.weight_packed", (outputs, -(-inputs // WORD))), inputs
        )
        groups = (self._checkpoint.get_shape(f"{name}.weight_scale") or (0,))[-1]
        scales = read(f"{name}.weight_scale", (outputs, groups), torch.float32)
        zeros = None
        if self._checkpoint.has(f"{name}.weight_zero_point"):
            words = read(f"{name}.weight_zero_point", (-(-outputs // WORD), groups))
            zeros = unpack_compressed_zeros(words, outputs)
        if groups == 0 or inputs % groups or inputs % 2:
            raise self._refuse(f"{name}: {inputs} inputs do not divide into {groups} groups")
        return _make_int4(codes, scales, zeros)

    def _read_bytes(self, name: str, outputs: int, inputs: int, suffix: str) -> LinearWeights:
        weight = self._checkpoint.read(f"{name}.weight", (outputs, inputs))
        is_float = self._quantization.get("is_float", False)
        wanted = FLOAT8 if is_float else torch.int8
        if weight.dtype != wanted:
            raise self._refuse(f"{name}.weight is {weight.dtype}: only {wanted} is read")
        scale_name = f"{name}.{suffix}"
        found = self._checkpoint.get_shape(scale_name)
        shape = found if found in ((1,), (outputs,)) else (outputs, 1)
        scale = self._checkpoint.read(scale_name, shape, torch.float32).flatten()
        return LinearWeights(
            "fp8" if is_float else "int8",
            weight,
            scale=scale.expand(outputs).contiguous(),
            has_int8_inputs=self._quantization["has_int8_inputs"],
        )

    def _count_groups(self, name: str, outputs: int, inputs: int) -> int:
        size = self._quantization["group_size"]
        size = inputs if size == -1 else size
        if inputs % size or inputs % WORD or outputs % WORD:
            raise self._refuse(
                f"{name}: {inputs} inputs and {outputs} outputs do not divide into words of {WORD} "
                f"and groups of {size}"
            )
        return inputs // size


def _make_int4(codes_OI: Tensor, scales_OG: Tensor, zeros_OG: Tensor | None) -> LinearWeights:
    if zeros_OG is not None and bool((zeros_OG == _MIDDLE).all()):
        zeros_OG = None
    return LinearWeights("int4", pack_pairs(codes_OI), scales_OG.contiguous(), zeros_OG)


def _read_quantization(config: Any, refuse: Refuse) -> dict[str, Any]:
    """Return quantization_config with one name for each setting, proven to be one that we read."""
    given = getattr(config, "quantization_config", None) or {}
    given = given if isinstance(given, dict) else given.to_dict()
    method = given.get("quant_method")
    if not given:
        return {}
    if method not in _CHECKS:
        raise refuse(f"quant_method {method!r} is not read; known are {', '.join(_CHECKS)}")
    read: dict[str, Any] = _CHECKS[method](given, refuse)
    return {**read, "quant_method": method}


def _check_awq(given: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    version = given.get("version") or given.get("format") or "gemm"
    if str(version).lower() != "gemm":
        raise refuse(f"its AWQ version {version!r} is not read; save it as gemm")
    return _check_int4(given, refuse)


def _check_gptq(given: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    layout = given.get("checkpoint_format") or given.get("format") or "gptq"
    if layout not in ("gptq", "gptq_v2"):
        raise refuse(f"its GPTQ checkpoint_format {layout!r} is not read; save it as gptq")
    if given.get("desc_act"):
        raise refuse("desc_act is true, which is not followed; quantize it with desc_act false")
    return {**_check_int4(given, refuse), "checkpoint_format": layout}


def _check_int4(given: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    bits = given.get("bits", given.get("w_bit"))
    size = given.get("group_size", given.get("q_group_size", -1))
    if bits != 4:
        raise refuse(f"its weights have {bits} bits; of this quant_method only 4 are read")
    if not isinstance(size, int) or (size != -1 and (size < 2 or size % 2)):
        raise refuse(f"group_size {size!r} must be -1 or an even number")
    return {"group_size": size}


def _check_compressed(given: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    groups = list((given.get("config_groups") or {}).values())
    if len(groups) != 1 or given.get("transform_config"):
        raise refuse("compressed-tensors with one entry in config_groups and no transform are read")
    weights = groups[0].get("weights") or {}
    inputs = groups[0].get("input_activations")
    layout = given.get("format") or groups[0].get("format")
    known = {
        "pack-quantized": ("int", (4, 8)),
        "int-quantized": ("int", (8,)),
        "naive-quantized": ("int", (8,)),
        "float-quantized": ("float", (8,)),
    }
    kind, widths = known.get(str(layout), ("", ()))
    bits = weights.get("num_bits")
    if bits not in widths or weights.get("type", "int") != kind:
        raise refuse(
            f"compressed-tensors {layout!r} with {bits} bits is not read; known are "
            "pack-quantized with 4 or 8, int-quantized and float-quantized with 8"
        )
    if bits == 8 and not weights.get("symmetric", True):
        raise refuse("8-bit weights with zero points are not read; quantize them symmetric")
    if bits == 8 and weights.get("strategy") not in ("channel", "tensor"):
        raise refuse("8-bit weights have one scale for each channel: no groups are read")
    is_float = kind == "float"
    if (is_float or inputs is not None) and not _is_by_row(inputs or {}, kind):
        wanted = "fp8" if is_float else "int8"
        raise refuse(f"its inputs are quantized otherwise than to {wanted}, each row by itself")
    has_int8_inputs = inputs is not None and not is_float
    return {"has_int8_inputs": has_int8_inputs, "bits": bits, "is_float": is_float}


def _is_by_row(inputs: dict[str, Any], kind: str) -> bool:
    is_new_each_time = inputs.get("dynamic") and inputs.get("strategy", "token") == "token"
    return bool(inputs.get("num_bits") == 8 and is_new_each_time and inputs.get("type") == kind)


def _check_smooth(given: dict[str, Any], refuse: Refuse) -> dict[str, Any]:
    kind = given.get("quant_dtype", "int8")
    if kind != "int8":
        raise refuse(f"smooth_quant to {kind} is not read; quantize it to int8")
    return {"has_int8_inputs": True}


_CHECKS: dict[str, Callable[[dict[str, Any], Refuse], dict[str, Any]]] = {
    "awq": _check_awq,
    "gptq": _check_gptq,
    "compressed-tensors": _check_compressed,
    "smooth_quant": _check_smooth,
    "gguf": lambda given, refuse: {},
}
