"""InternLM2 models of random weights, made once: what bench/serve_gpu.py serves.

The names and shapes of the weights are the in-repo model's. A twin in Llama's layout has the same
numbers, for engines that know no InternLM2; a third folder has AWQ's layers of 4 random bits.
"""

import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import LlamaConfig

from engine.models.internlm2 import InternLM2Config, InternLM2ForCausalLM
from engine.models.tiny import make_tokenizer
from engine.quantize.writer import CheckpointWriter

SIZES: dict[str, dict[str, int]] = {
    "1.8b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "vocab_size": 92544,
    },
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 92544,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 320,
    },
}
LAYOUTS = ("internlm2", "internlm2-awq", "llama")
_DEVIATION = 0.02
_GROUP = {"1.8b": 128, "7b": 128, "tiny": 32}
_UNEVEN = 4.61  # the deviation of whole numbers from 0 to 15, each as likely
_LLAMA = {
    "model.tok_embeddings": "model.embed_tokens",
    "output": "lm_head",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
"""Ends of InternLM2's names, and Llama's for them."""


@dataclass(frozen=True)
class Costs:
    """What a model's steps read and compute, from its shape."""

    weight_bytes: int
    """Of all matrices but the embedding, of which a step reads some rows."""
    kv_bytes_per_token: int
    num_weights: int
    """Numbers that each token is multiplied with."""
    attention_per_token: int
    """Multiplications and additions of one token with one token before it."""


def make_folder(parent: Path, size: str, layout: str) -> Path:
    """Return a folder of one of the layouts; what is there already stays."""
    folder = parent / f"internlm2-{size}-{layout}"
    if not (folder / "config.json").exists():  # written last
        config = make_config(size)
        writer = CheckpointWriter(folder)
        for name, tensor in _draw_all(config):
            for part, values in _lay_out(name, tensor, size, layout, config):
                writer.add(part, values)
        writer.close()
        make_tokenizer().save_pretrained(folder)
        _write_config(folder, size, layout, config)
    return folder


def make_config(size: str) -> InternLM2Config:
    """Return the published shape of a size, or a tiny one."""
    return InternLM2Config(
        **SIZES[size],
        max_position_embeddings=32768 if size != "tiny" else 512,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        bias=False,
        tie_word_embeddings=False,
        architectures=["InternLM2ForCausalLM"],
    )


def count_costs(folder: Path, size: str, *, is_fp8: bool = False) -> Costs:
    """Return what a step of a folder's model costs, its layers rounded to 8 bits or as they lie."""
    shape = SIZES[size]
    weight_bytes = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118, it is no mapping
                if "embed" not in name:
                    tensor = file.get_slice(name)
                    sides = tensor.get_shape()
                    width = {"I32": 4, "F16": 2, "BF16": 2}[tensor.get_dtype()]
                    is_rounded = is_fp8 and len(sides) == 2 and "output" not in name
                    weight_bytes += math.prod(sides) * (1 if is_rounded else width)
                    weight_bytes += 4 * sides[0] if is_rounded else 0  # its scales
    head_dim = shape["hidden_size"] // shape["num_attention_heads"]
    layers, narrow = shape["num_hidden_layers"], shape["num_key_value_heads"] * head_dim
    hidden = shape["hidden_size"]
    layer = hidden * (2 * hidden + 2 * narrow + 3 * shape["intermediate_size"])
    return Costs(
        weight_bytes=weight_bytes,
        kv_bytes_per_token=layers * 2 * narrow * 2,
        num_weights=layers * layer + hidden * shape["vocab_size"],
        attention_per_token=layers * 4 * hidden,
    )


def _draw_all(config: InternLM2Config) -> Iterator[tuple[str, Tensor]]:
    """Draw each weight of the model from a seed of its own name: all layouts have the same."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device("meta"):
        shapes = InternLM2ForCausalLM(config).state_dict()
    for name, like in shapes.items():
        if like.ndim == 1:
            yield name, torch.ones(like.shape, dtype=torch.bfloat16)
            continue
        generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()))
        drawn = torch.empty(like.shape, dtype=torch.bfloat16, device=device)
        yield name, drawn.normal_(0, _DEVIATION, generator=generator)


def _lay_out(
    name: str, tensor: Tensor, size: str, layout: str, config: InternLM2Config
) -> Iterator[tuple[str, Tensor]]:
    is_layer = tensor.ndim == 2 and ".layers." in name
    if layout == "internlm2-awq" and is_layer:
        yield from _make_awq(name.removesuffix(".weight"), tensor, _GROUP[size])
    elif layout != "llama":
        yield name, tensor
    elif name.endswith("attention.wqkv.weight"):
        yield from _split(name, tensor, config)
    else:
        for ours, theirs in _LLAMA.items():
            if name.endswith(f"{ours}.weight"):
                name = name.removesuffix(f"{ours}.weight") + f"{theirs}.weight"
                break
        yield name, tensor


def _split(name: str, fused: Tensor, config: InternLM2Config) -> Iterator[tuple[str, Tensor]]:
    """Take queries, keys and values apart: they lie by key-value head."""
    assert config.num_key_value_heads is not None
    groups = fused.unflatten(0, (config.num_key_value_heads, -1, config.head_dim))
    parts = {"q": groups[:, :-2], "k": groups[:, -2:-1], "v": groups[:, -1:]}
    layer = name.removesuffix("attention.wqkv.weight")
    for letter, part in parts.items():
        yield f"{layer}self_attn.{letter}_proj.weight", part.flatten(0, 2).clone()


def _make_awq(name: str, like: Tensor, group: int) -> Iterator[tuple[str, Tensor]]:
    """Draw a layer of 4 bits in AWQ's GEMM layout, with about the deviation of the others."""
    outputs, inputs = like.shape
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    least, most = -(2**31), 2**31
    shape = (inputs, outputs // 8)
    words = torch.randint(least, most, shape, generator=generator, dtype=torch.int32)
    # Sevens and eights in turn: the middle of what was drawn, and no zero points that all are one,
    # which would be left out.
    middle = torch.full((inputs // group, outputs // 8), -0x78787879, dtype=torch.int32)
    yield f"{name}.qweight", words
    yield f"{name}.qzeros", middle
    scales = torch.full((inputs // group, outputs), _DEVIATION / _UNEVEN, dtype=torch.float16)
    yield f"{name}.scales", scales


def _write_config(folder: Path, size: str, layout: str, config: InternLM2Config) -> None:
    told = config.to_dict()
    if layout == "llama":
        llama = LlamaConfig(
            **SIZES[size],
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters=config.rope_parameters,
            tie_word_embeddings=False,
            architectures=["LlamaForCausalLM"],
        )
        told = llama.to_dict()
    if layout == "internlm2-awq":
        told["quantization_config"] = {
            "quant_method": "awq",
            "bits": 4,
            "group_size": _GROUP[size],
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": ["output"],
        }
    told["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(told, indent=2, default=str) + "\n")
