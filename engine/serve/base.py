"""A served base model in memory: its decoder, chosen for the device, and the size of its pool."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from engine.errors import EngineError
from engine.models.float8 import require_fp8
from engine.models.load import DTYPES, has_fast_bf16, pick_device
from engine.quantize.kv import KEPT_POSITIONS
from engine.serve import cpu
from engine.serve.adapters import AdapterFiles
from engine.serve.decoder.families import read_model
from engine.serve.decoder.lora import read_lora, read_module_lora
from engine.serve.decoder.module_decoder import ModuleDecoder
from engine.serve.decoder.module_shape import open_module
from engine.serve.decoder.parallel import lead_or_follow
from engine.serve.decoder.placing import round_to_fp8, widen_fp8
from engine.serve.decoder.shape import DecoderShape
from engine.serve.decoder.shapes import FAMILIES, make_shape, read_config, read_family
from engine.serve.decoder.step import Decoder, LoraPair
from engine.serve.decoder.torch_decoder import TorchDecoder
from engine.serve.decoder.weights import DecoderWeights
from engine.serve.group import Group, join_group
from engine.serve.native_backend import NUM_ADAPTER_SLOTS
from engine.specs import Placement, ServeSpec
from engine.status import Reason

_BLOCK_SIZE = KEPT_POSITIONS  # the C++ decoder keeps the first block of a request in full
_CPU_SHARE = 0.3  # of free memory: the studio and other runs live on the same machine
_GPU_SHARE = 0.85  # of free memory: the rest is for what a step makes
_KV_BITS: dict[str, Literal[16, 8, 4]] = {"full": 16, "int8": 8, "int4": 4}
_MIN_CONTEXT = 256  # tokens: a pool of fewer serves nobody


def name_quantization(weights: DecoderWeights) -> str:
    """Return what the linear layers are held in: none, int8, int4, fp8, or w8a8."""
    linear = weights.layers[0].query
    if linear.kind == "dense":
        return "none"
    return "w8a8" if linear.has_int8_inputs else linear.kind


@dataclass(frozen=True)
class Base:
    """A decoder, and what the rest needs to know of its model."""

    decoder: Decoder
    read_lora: Callable[[AdapterFiles], dict[tuple[int, str], LoraPair]]
    max_positions: int
    device: str
    quantization: str
    arithmetic: str
    """Which decoder computes, and how; see `OpenedModel`."""


@dataclass(frozen=True)
class _Room:
    """What bounds the pool's size."""

    block_bytes: int
    """Of keys and values of a block, in all layers."""
    max_positions: int
    weights_bytes: int
    """That are not in the memory of the device yet."""
    device: torch.device


def open_base(folder: Path, spec: ServeSpec, placement: Placement) -> Base:
    """Load a base, or this process's share of one, in the fastest decoder that there is for it.

    A process that is not the first of a group stays here and follows until the first ends.

    Raises:
        EngineError: bad_model, when it cannot be used; bad_spec, when it cannot be divided so;
            out_of_memory, when no context of use fits beside it.
    """
    family = read_family(folder)
    if family not in FAMILIES:
        print(
            f"model_type {family!r} is served by transformers' module, one request after the "
            f"other; faster are {', '.join(FAMILIES)}.",
            file=sys.stderr,
            flush=True,
        )
        return _open_module_base(folder, spec, placement)
    group = join_group(spec, placement)
    if spec.precision == "fp8":
        require_fp8(group.device)
    whole = make_shape(folder, read_config(folder))
    shape, weights = read_model(folder, dtype=DTYPES[spec.precision], share=group.share)
    weights = widen_fp8(weights, DTYPES[spec.precision], group.device)
    if spec.precision == "fp8":
        weights = _round(weights, spec, group)
    decoder, arithmetic = _open_decoder(shape, weights, spec, placement, group)
    return Base(
        decoder=decoder,
        read_lora=lambda files: read_lora(files, whole),
        max_positions=whole.max_positions,
        device=str(group.device),
        quantization=name_quantization(weights),
        arithmetic=arithmetic,
    )


def _round(weights: DecoderWeights, spec: ServeSpec, group: Group) -> DecoderWeights:
    held_in = name_quantization(weights)
    if held_in not in ("none", "fp8"):
        raise EngineError(
            Reason.BAD_SPEC,
            f"precision: fp8 rounds models in floats, and {spec.model} is held in {held_in}: take "
            "bf16.",
        )
    return round_to_fp8(weights, group.device)


def _open_module_base(folder: Path, spec: ServeSpec, placement: Placement) -> Base:
    if spec.precision == "fp8":
        raise EngineError(
            Reason.BAD_SPEC, f"precision: fp8 is for {', '.join(FAMILIES)}: take bf16."
        )
    if spec.kv_precision != "full":
        raise EngineError(
            Reason.BAD_SPEC,
            f"kv_precision: {spec.kv_precision} is for {', '.join(FAMILIES)}: set it to full.",
        )
    if spec.is_batch_invariant:
        raise EngineError(
            Reason.BAD_SPEC, f"is_batch_invariant: it is for {', '.join(FAMILIES)}: leave it out."
        )
    if spec.tensor_parallel > 1:
        raise EngineError(
            Reason.BAD_SPEC, f"tensor_parallel: it is for {', '.join(FAMILIES)}: leave it out."
        )
    device = pick_device(placement.devices)
    model, shape = open_module(folder, precision=spec.precision, device=device)
    room = _Room(_BLOCK_SIZE * shape.kv_bytes_per_token, shape.max_positions, 0, device)
    num_blocks = choose_num_blocks(spec, placement, room)
    return Base(
        decoder=ModuleDecoder(model, shape, num_blocks=num_blocks, block_size=_BLOCK_SIZE),
        read_lora=lambda files: read_module_lora(files, model),
        max_positions=shape.max_positions,
        device=str(device),
        quantization="none",
        arithmetic=f"module {device.type}",
    )


def _open_decoder(
    shape: DecoderShape,
    weights: DecoderWeights,
    spec: ServeSpec,
    placement: Placement,
    group: Group,
) -> tuple[Decoder, str]:
    """Return a decoder, and the words for its arithmetic."""
    device = group.device
    is_cpu = device.type == "cpu" and group.ranks is None  # the C++ decoder is of one process
    dtype = DTYPES[spec.precision]
    if dtype == torch.bfloat16 and not has_fast_bf16(device):
        dtype = torch.float32  # its weights stay rounded to bfloat16
    options = _choose_options(weights, spec)
    if is_cpu and not cpu.is_available().why_not:
        is_fp32 = dtype == torch.float32
        block_bytes = cpu.count_block_bytes(shape, _BLOCK_SIZE, options, is_fp32=is_fp32)
    else:
        block_bytes = count_block_bytes(shape, spec, dtype)
    room = _Room(block_bytes, shape.max_positions, count_bytes(weights), device)
    num_blocks = group.agree_on_least(choose_num_blocks(spec, placement, room))
    if is_cpu and (decoder := _open_cpu(shape, weights, num_blocks, options, placement)):
        return decoder, f"cpp {decoder.simd} {options}"
    local = TorchDecoder(
        shape,
        weights,
        num_blocks=num_blocks,
        block_size=_BLOCK_SIZE,
        device=device,
        dtype=dtype,
        max_adapters=NUM_ADAPTER_SLOTS,
        kv_bits=_KV_BITS[spec.kv_precision],
        is_batch_invariant=spec.is_batch_invariant,
        group=group.ranks,
    )
    arithmetic = f"torch {device.type} {dtype} {spec.is_batch_invariant} {spec.tensor_parallel}"
    if group.ranks is None:
        return local, arithmetic
    return lead_or_follow(local, group.ranks), arithmetic


def _open_cpu(
    shape: DecoderShape,
    weights: DecoderWeights,
    num_blocks: int,
    options: cpu.CpuOptions,
    placement: Placement,
) -> cpu.CpuDecoder | None:
    """Open the C++ decoder; None, with a line in the log that says why, where it cannot be had."""
    why = cpu.is_available().why_not
    if not why:
        try:
            return cpu.open_cpu_decoder(
                shape,
                weights,
                num_blocks=num_blocks,
                block_size=_BLOCK_SIZE,
                num_threads=placement.num_threads or torch.get_num_threads(),
                max_adapters=NUM_ADAPTER_SLOTS,
                options=options,
            )
        except (cpu.KernelsUnavailable, ValueError) as error:
            why = str(error)
    print(f"The slower torch decoder serves: {why}", file=sys.stderr, flush=True)
    return None


def _choose_options(weights: DecoderWeights, spec: ServeSpec) -> cpu.CpuOptions:
    """A quantized model's head is rounded too: it is a fifth of what a small one reads a token."""
    is_dense = weights.layers[0].query.kind == "dense"
    return cpu.CpuOptions(head_bits=None if is_dense else 8, kv_bits=_KV_BITS[spec.kv_precision])


def count_block_bytes(shape: DecoderShape, spec: ServeSpec, dtype: torch.dtype) -> int:
    """Return what a block of keys and values takes in all layers of a torch decoder."""
    is_full = spec.kv_precision == "full"
    element_bytes = dtype.itemsize if is_full else _KV_BITS[spec.kv_precision] / 8
    return int(_BLOCK_SIZE * shape.kv_bytes_per_token * element_bytes / 2)


def choose_num_blocks(spec: ServeSpec, placement: Placement, room: _Room) -> int:
    """Return how many blocks the pool has.

    Raises:
        EngineError: out_of_memory, when they would hold less than a short conversation.
    """
    block_bytes = room.block_bytes
    max_context = min(spec.max_context, room.max_positions)
    num_useful = spec.max_running * -(-max_context // _BLOCK_SIZE)
    memory_bytes = spec.kv_memory_bytes or _find_spare_bytes(spec, placement, room)
    num_blocks = min(num_useful, memory_bytes // block_bytes)
    num_least = -(-min(max_context, _MIN_CONTEXT) // _BLOCK_SIZE)
    if num_blocks < num_least:
        raise EngineError(
            Reason.OUT_OF_MEMORY,
            f"kv_memory_bytes: {memory_bytes} bytes are left for contexts, and the shortest of use "
            f"take {num_least * block_bytes}: give more memory, or take a smaller model.",
        )
    return num_blocks


def _find_spare_bytes(spec: ServeSpec, placement: Placement, room: _Room) -> int:
    if room.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(room.device)
        spare = (free - room.weights_bytes - spec.adapter_memory_bytes) * _GPU_SHARE
        return max(0, int(spare))
    free = psutil.virtual_memory().available - room.weights_bytes  # a decoder may pack them anew
    if placement.memory_bytes is not None:
        taken = psutil.Process().memory_info().rss
        free = min(free, placement.memory_bytes - taken - spec.adapter_memory_bytes)
    return max(0, int(free * _CPU_SHARE))


def count_bytes(weights: Any) -> int:
    """Return the bytes of a tree of weights that lie in the host's memory, each counted once."""
    sizes: dict[int, int] = {}

    def walk(value: Any) -> None:
        if isinstance(value, torch.Tensor) and value.device.type == "cpu":
            sizes[value.data_ptr()] = value.numel() * value.element_size()
        elif isinstance(value, tuple):
            for each in value:
                walk(each)
        elif hasattr(value, "__dataclass_fields__"):
            for name in value.__dataclass_fields__:
                walk(getattr(value, name))

    walk(weights)
    return sum(sizes.values())
