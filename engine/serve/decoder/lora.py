"""From an adapter's files to the low-rank pairs of a decoder. Checked whole before any is returned.

R rank, I inputs, O outputs.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace

import torch
from peft.utils.other import get_pattern_key
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from engine.errors import EngineError
from engine.serve.adapters import AdapterFiles
from engine.serve.decoder.families import split_fused_rows
from engine.serve.decoder.shape import DecoderShape
from engine.serve.decoder.step import LoraPair
from engine.status import Reason

_LLAMA_ATTENTION = {
    "self_attn.q_proj": ("query",),
    "self_attn.k_proj": ("key",),
    "self_attn.v_proj": ("value",),
    "self_attn.o_proj": ("output",),
}
_LLAMA_FFN = {"mlp.gate_proj": ("gate",), "mlp.up_proj": ("up",), "mlp.down_proj": ("down",)}
_INTERNLM2 = {
    "attention.wqkv": ("query", "key", "value"),
    "attention.wo": ("output",),
    "feed_forward.w1": ("gate",),
    "feed_forward.w3": ("up",),
    "feed_forward.w2": ("down",),
}


_PEFT = "base_model.model."
_SEEING = ("vision_tower.", "multi_modal_projector.")  # modules of a base that sees as well


@dataclass(frozen=True)
class _Module:
    """A linear layer of the model that an adapter was trained on."""

    name: str
    layer: int
    targets: tuple[str, ...]
    """What the decoder calls it; several of a fused one."""
    outputs: int
    inputs: int

    def is_meant(self, target: str) -> bool:
        """Say whether peft means it by an entry of `target_modules`."""
        return self.name == target or self.name.endswith(f".{target}")


def read_lora(files: AdapterFiles, shape: DecoderShape) -> dict[tuple[int, str], LoraPair]:
    """Return the update of each layer that an adapter changes, in float32.

    The scale, alpha / r or with rslora alpha / sqrt(r) (arXiv 2312.03732), of each layer by its
    own rank and alpha, is multiplied into B.

    Raises:
        EngineError: bad_model, when it names a layer that the base has not, or does not fit it.
    """
    pairs = {}
    modules = _list_modules(shape, _find_stack(files))
    for module, down, up in _read_pairs(_take_text_part(files), modules):
        ups = [up[rows] for rows in split_fused_rows(shape)] if module.targets[1:] else [up]
        for target, part in zip(module.targets, ups, strict=True):
            pairs[module.layer, target] = LoraPair(down, part.contiguous())
    return pairs


def read_module_lora(files: AdapterFiles, model: nn.Module) -> dict[tuple[int, str], LoraPair]:
    """As `read_lora`, for a module of transformers: keys are (0, the linear layer's full name).

    Raises:
        EngineError: bad_model, when it names a layer that the base has not, or does not fit it.
    """
    modules = [
        _Module(name, 0, (name,), *_get_module_sizes(module))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    ]
    return {
        (module.layer, module.name): LoraPair(down, up)
        for module, down, up in _read_pairs(files, modules)
    }


def _find_stack(files: AdapterFiles) -> str:
    """Return what an adapter calls the stack of layers: that of a base that sees has longer names.

    An adapter knows modules, whose names are not always those of a file's tensors.
    """
    for stack in ("model.language_model.", "language_model.model."):
        if any(name.startswith(_PEFT + stack) for name in files.weights):
            return stack
    return "model."


def _take_text_part(files: AdapterFiles) -> AdapterFiles:
    """Leave out what changes only how a base sees."""
    unused = {_name_module(key) for key in files.weights if any(p in key for p in _SEEING)}
    if not unused:
        return files
    weights = {key: t for key, t in files.weights.items() if _name_module(key) not in unused}
    used = {_name_module(key) for key in weights}
    config = copy(files.config)
    config.target_modules = {
        target
        for target in files.config.target_modules
        if _is_end(target, used) or not _is_end(target, unused)
    }
    return replace(files, config=config, weights=weights)


def _name_module(key: str) -> str:
    return key.removeprefix(_PEFT).rpartition(".lora_")[0]


def _is_end(target: str, names: set[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for name in names)


def _get_module_sizes(module: nn.Linear | Conv1D) -> tuple[int, int]:
    """Return outputs and inputs; GPT-2's `Conv1D` is a linear layer whose weight lies turned."""
    outputs, inputs = module.weight.shape
    return (outputs, inputs) if isinstance(module, nn.Linear) else (inputs, outputs)


def _read_pairs(
    files: AdapterFiles, modules: Iterable[_Module]
) -> list[tuple[_Module, Tensor, Tensor]]:
    """Return A and B of each layer that is changed, the scale in B, in float32."""
    chosen = _choose_modules(files, list(modules))
    wanted = {
        f"{_PEFT}{module.name}.lora_{letter}.weight": size
        for module in chosen
        for letter, size in zip("AB", _get_sizes(files, module), strict=True)
    }
    _check(files.weights, wanted)
    found = []
    for module in chosen:
        down, up = (
            files.weights[f"{_PEFT}{module.name}.lora_{letter}.weight"].float() for letter in "AB"
        )
        found.append((module, down, up * _get_scale(files, module)))
    return found


def _list_modules(shape: DecoderShape, stack: str) -> Iterator[_Module]:
    wide, narrow = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    hidden, inner = shape.hidden_size, shape.intermediate_size
    sizes = {
        "query": (wide, hidden),
        "key": (narrow, hidden),
        "value": (narrow, hidden),
        "output": (hidden, wide),
        "gate": (inner, hidden),
        "up": (inner, hidden),
        "down": (hidden, inner),
    }
    names = _INTERNLM2 if shape.family == "internlm2" else _LLAMA_ATTENTION
    if shape.family != "internlm2" and not shape.num_experts:
        names = {**names, **_LLAMA_FFN}
    for layer in range(shape.num_layers):
        for name, targets in names.items():
            outputs = sum(sizes[target][0] for target in targets)
            yield _Module(
                f"{stack}layers.{layer}.{name}", layer, targets, outputs, sizes[targets[0]][1]
            )


def _choose_modules(files: AdapterFiles, modules: list[_Module]) -> list[_Module]:
    targets = sorted(files.config.target_modules)
    missing = [name for name in targets if not any(module.is_meant(name) for module in modules)]
    if missing:
        raise _bad(f"this base has no linear layer named {', '.join(missing)} to adapt")
    return [module for module in modules if any(map(module.is_meant, targets))]


def _get_rank(files: AdapterFiles, module: _Module) -> int:
    pattern = files.config.rank_pattern
    rank: int = pattern.get(get_pattern_key(pattern.keys(), module.name), files.config.r)
    return rank


def _get_scale(files: AdapterFiles, module: _Module) -> float:
    pattern = files.config.alpha_pattern
    key = get_pattern_key(pattern.keys(), module.name)
    alpha, rank = float(pattern.get(key, files.config.lora_alpha)), _get_rank(files, module)
    return alpha / (rank**0.5 if files.config.use_rslora else rank)


def _get_sizes(files: AdapterFiles, module: _Module) -> tuple[tuple[int, int], tuple[int, int]]:
    rank = _get_rank(files, module)
    return (rank, module.inputs), (module.outputs, rank)


def _check(weights: dict[str, Tensor], wanted: dict[str, tuple[int, int]]) -> None:
    """Prove that a file fills the adapter's own weights, all of them, and touches no others."""
    if odd := sorted(weights.keys() ^ wanted.keys()):
        what = "an unknown" if odd[0] in weights else "no"
        raise _bad(f"adapter_model.safetensors has {what} weight {odd[0]}")
    for key, tensor in weights.items():
        if tuple(tensor.shape) != wanted[key]:
            shapes = f"{tuple(tensor.shape)}, this base wants {wanted[key]}"
            raise _bad(f"{key} has the shape {shapes}: it was trained on another base")
        if not torch.is_floating_point(tensor):
            raise _bad(f"{key} is {tensor.dtype}, which is no number of an adapter")


def _bad(what: str) -> EngineError:
    return EngineError(Reason.BAD_MODEL, f"The adapter cannot be used: {what}.")
