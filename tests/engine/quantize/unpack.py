"""Reads quantized checkpoints number by number, from the formats' descriptions alone.

Nothing of the engine's packing is used here: words are taken apart with plain Python integers.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

_AWQ_PLACE_OF_OUTPUT = {0: 0, 1: 4, 2: 1, 3: 5, 4: 2, 5: 6, 6: 3, 7: 7}


def nibble(word: int, place: int) -> int:
    return (int(word) & 0xFFFFFFFF) >> (4 * place) & 0xF


def read_awq(tensors: dict[str, np.ndarray], group: int) -> np.ndarray:
    """O x I float64: (code - zero) * scale, eight outputs a word in AWQ's order."""
    words, zeros, scales = (tensors[name] for name in ("qweight", "qzeros", "scales"))
    num_inputs, num_outputs = words.shape[0], 8 * words.shape[1]
    made = np.empty((num_outputs, num_inputs))
    for output in range(num_outputs):
        column, place = output // 8, _AWQ_PLACE_OF_OUTPUT[output % 8]
        for index in range(num_inputs):
            row = index // group
            code, zero = nibble(words[index, column], place), nibble(zeros[row, column], place)
            made[output, index] = (code - zero) * float(scales[row, output])
    return made


def read_gptq(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """O x I float64: eight inputs a word, zeros stored less one, groups by `g_idx`."""
    words, zeros, scales = (tensors[name] for name in ("qweight", "qzeros", "scales"))
    groups = tensors["g_idx"]
    num_inputs, num_outputs = 8 * words.shape[0], words.shape[1]
    made = np.empty((num_outputs, num_inputs))
    for output in range(num_outputs):
        for index in range(num_inputs):
            row = groups[index]
            code = nibble(words[index // 8, output], index % 8)
            zero = nibble(zeros[row, output // 8], output % 8) + 1
            made[output, index] = (code - zero) * float(scales[row, output])
    return made


def read_int8(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """O x I float64 of `int-quantized`: a code times its output's scale."""
    return tensors["weight"].astype(np.float64) * tensors["weight_scale"]


def read_packed_int8(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """O x I float64 of `pack-quantized` at 8 bits: four codes a word, each 128 more."""
    num_outputs, num_inputs = tensors["weight_shape"]
    words = tensors["weight_packed"]
    made = np.empty((num_outputs, num_inputs))
    for output in range(num_outputs):
        for index in range(num_inputs):
            word = int(words[output, index // 4]) & 0xFFFFFFFF
            made[output, index] = (word >> 8 * (index % 4) & 0xFF) - 128
    return made * tensors["weight_scale"]


def read_linear(tensors: dict[str, np.ndarray], config: dict) -> np.ndarray:
    if config["quant_method"] == "awq":
        return read_awq(tensors, config["group_size"])
    if config["quant_method"] == "gptq":
        return read_gptq(tensors)
    return read_int8(tensors) if config["format"] == "int-quantized" else read_packed_int8(tensors)


def read_checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    """All weights of a quantized folder in float32, by the names that the base has."""
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    held = load_file(folder / "model.safetensors")
    parts: dict[str, dict[str, np.ndarray]] = {}
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in held.items():
        module, _, part = name.rpartition(".")
        is_packed = f"{module}.qweight" in held or f"{module}.weight_scale" in held
        if is_packed and part != "bias":
            values = tensor.float() if tensor.is_floating_point() else tensor
            parts.setdefault(module, {})[part] = values.numpy()
        else:
            plain[name] = tensor.float()
    for module, tensors in parts.items():
        plain[f"{module}.weight"] = torch.from_numpy(read_linear(tensors, config)).float()
    return plain


def load_dequantized(base: Path, folder: Path):
    """The base's class with what the quantized folder's numbers mean."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    missing, unexpected = model.load_state_dict(read_checkpoint(folder), strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}  # tied
    return model.eval()
