"""The C++ decoder behind the step loop's protocol: tensors are checked here and handed over.

What needs a look at every number, such as a block's index, is checked on the other side before
anything is written. R wanted rows, V vocabulary, E hidden width.
"""

import ctypes
import os
import weakref
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.serve.cpu.binding import (
    PARTS,
    LayerSource,
    Library,
    LoraSource,
    ModelSource,
    StepSource,
    load_library,
)
from engine.serve.cpu.build import Simd
from engine.serve.cpu.packing import Packer, check_shape, count_part, quantize_dense
from engine.serve.decoder.shape import DecoderShape
from engine.serve.decoder.step import LoraPair, StepBatch
from engine.serve.decoder.weights import DecoderWeights

_CELL = 16  # positions that attention takes at once: blocks are whole numbers of them
_KV_KINDS = {16: 0, 8: 1, 4: 2}
_MOST_THREADS = 256


@dataclass(frozen=True)
class CpuOptions:
    """What the owner of a deployment may choose."""

    head_bits: Literal[4, 8] | None = None
    """Round a dense head when it is loaded; None keeps it. Embeddings always stay."""
    kv_bits: Literal[16, 8, 4] = 16
    """Bits of each number of keys and values; 16 is bf16, or float32 for float32 weights."""
    kv_kept_layers: int = 0
    """So many first layers keep their keys and values in full; a server's: none (decision 060)."""
    kv_keeps_sinks: bool = True
    """Each request's first block is kept in full (StreamingLLM, arXiv 2309.17453)."""
    simd: Simd = "native"
    """For tests: the instructions to compile for."""


def open_cpu_decoder(
    shape: DecoderShape,
    weights: DecoderWeights,
    *,
    num_blocks: int,
    block_size: int = 16,
    num_threads: int,
    max_adapters: int,
    options: CpuOptions | None = None,
) -> "CpuDecoder":
    """Pack a model for this processor. The linear layers are copied: drop `weights` afterwards.

    Raises:
        KernelsUnavailable: the C++ cannot be compiled here; the torch decoder serves then.
        ValueError: the model, or an argument, is one that it cannot run.
        MemoryError: model or pool do not fit.
    """
    options = options or CpuOptions()
    _check_numbers(shape, num_blocks, block_size, num_threads, max_adapters, options)
    check_shape(shape, weights)
    is_fp32 = options.kv_bits == 16 and _is_all_float32(weights)
    _check_pool_fits(num_blocks * count_block_bytes(shape, block_size, options, is_fp32=is_fp32))
    library = load_library(options.simd)
    embedding = _take_embedding(weights.embedding)
    packer = Packer(library)
    try:
        layers = (LayerSource * shape.num_layers)()
        for index, layer in enumerate(weights.layers):
            layers[index] = packer.make_layer(shape, index, layer)
        head = weights.head
        if options.head_bits is not None and head.kind == "dense":
            head = quantize_dense(head.weight, options.head_bits)
        source = _describe(shape, options, embedding)
        source.norm = packer.keep_floats("norm", weights.norm, shape.hidden_size)
        source.head = packer.make_linear("head", head, shape.vocab_size, shape.hidden_size).value
        source.is_fp32 = is_fp32
        source.num_blocks, source.block_size = num_blocks, block_size
        source.num_threads, source.max_adapters = num_threads, max_adapters
        ropes = packer.make_ropes(shape)
        handle = ctypes.c_void_p()
        packer.hand_over()
        library.call("open", ctypes.byref(source), ropes, len(ropes), layers, ctypes.byref(handle))
    except BaseException:
        packer.give_up()
        raise
    return CpuDecoder(library, handle, shape, source, embedding)


def count_block_bytes(
    shape: DecoderShape, block_size: int, options: CpuOptions, *, is_fp32: bool = False
) -> int:
    """Return what one block of keys and values takes in all layers.

    Blocks that `kv_keeps_sinks` holds in full take as much as bf16 ones beside it while they do.
    """
    numbers = -(-shape.head_dim // _CELL) * _CELL * _CELL  # of a cell's keys, and of its values
    full = 2 * numbers * (4 if is_fp32 else 2)
    # Each position has a two-byte scale and a zero for keys and for values; cells start on lines.
    few = -(-(2 * numbers * options.kv_bits // 8 + 2 * 3 * _CELL) // 64) * 64
    kept = shape.num_layers if options.kv_bits == 16 else options.kv_kept_layers
    kept = min(kept, shape.num_layers)
    cells = block_size // _CELL * shape.num_kv_heads
    return cells * (kept * full + (shape.num_layers - kept) * few)


class CpuDecoder:
    """The protocol `Decoder` in C++. One thread only; others run Python while a step does."""

    is_batch_invariant = True
    goes_ahead = False

    def __init__(
        self,
        library: Library,
        handle: ctypes.c_void_p,
        shape: DecoderShape,
        source: ModelSource,
        embedding: Tensor,
    ) -> None:
        self._library = library
        self._shape = shape
        self._embedding = embedding  # read by every step
        self.vocab_size = shape.vocab_size
        self.block_size = int(source.block_size)
        self.num_blocks = int(source.num_blocks)
        self.max_adapters = int(source.max_adapters)
        self._handle = handle
        self._finalizer = weakref.finalize(self, library.release, "close", handle)

    def close(self) -> None:
        """Give weights, pool and threads back at once; nothing else may be asked afterwards."""
        self._finalizer()

    @property
    def simd(self) -> str:
        """The instructions in use: avx512, avx2 or scalar."""
        return self._library.simd

    def forward(self, batch: StepBatch) -> Tensor:
        """Write the new keys and values into the pool and return float32 logits, R x V.

        Raises:
            ValueError: the batch is not one; nothing was written.
        """
        return self._run(batch, width=self.vocab_size, wants_hidden=False)

    def embed(self, batch: StepBatch) -> Tensor:
        """As `forward`, but return the normed last hidden states of the wanted rows, R x E."""
        return self._run(batch, width=self._shape.hidden_size, wants_hidden=True)

    def set_adapter(self, slot: int, pairs: dict[tuple[int, str], LoraPair]) -> None:
        """Fill a slot; keys are (layer, part). Matrices are kept in the precision of keys.

        Raises:
            ValueError: the slot, a key, or the shape of a matrix.
        """
        self._check_slot(slot)
        updates = (LoraSource * (self._shape.num_layers * len(PARTS)))()
        kept: list[Tensor] = []
        for (layer, part), pair in pairs.items():
            self._check_pair(layer, part, pair)
            a, b = (
                x.detach().to(device="cpu", dtype=torch.float32).contiguous()
                for x in (pair.a_RI, pair.b_OR)
            )
            kept += [a, b]
            updates[layer * len(PARTS) + PARTS.index(part)] = LoraSource(
                a.shape[0], a.shape[1], b.shape[0], a.data_ptr(), b.data_ptr()
            )
        self._library.call("set_adapter", self._open_handle(), slot, updates)

    def drop_adapter(self, slot: int) -> None:
        """Empty a slot."""
        self._check_slot(slot)
        self._library.call("drop_adapter", self._open_handle(), slot)

    def copy_block(self, source: int, target: int) -> None:
        """Copy a block's keys and values in every layer."""
        for name, block in (("source", source), ("target", target)):
            if not 0 <= block < self.num_blocks:
                raise ValueError(f"{name} is {block}; blocks are 0 to {self.num_blocks - 1}.")
        self._library.call("copy_block", self._open_handle(), source, target)

    def _run(self, batch: StepBatch, *, width: int, wants_hidden: bool) -> Tensor:
        tensors = _take_batch(batch)
        num_requests = batch.context_lengths_S.shape[0]
        rows = batch.logits_rows_R.shape[0]
        output = torch.empty(rows, width)
        step = StepSource(
            batch.token_ids_N.shape[0],
            num_requests,
            rows,
            batch.block_tables_SB.shape[1],
            wants_hidden,
            *(tensor.data_ptr() for tensor in tensors),
            output.data_ptr(),
        )
        self._library.call("run", self._open_handle(), ctypes.byref(step))
        return output

    def _open_handle(self) -> ctypes.c_void_p:
        if not self._finalizer.alive:
            raise ValueError("the decoder is closed.")
        return self._handle

    def _check_slot(self, slot: int) -> None:
        if not 0 <= slot < self.max_adapters:
            raise ValueError(f"slot is {slot}; there are {self.max_adapters} adapter slots.")

    def _check_pair(self, layer: int, part: str, pair: LoraPair) -> None:
        if not 0 <= layer < self._shape.num_layers or part not in PARTS:
            raise ValueError(f"an adapter updates {part} of layer {layer}, which is not there.")
        if self._shape.num_experts and part in ("gate", "up", "down"):
            raise ValueError(f"an adapter updates {part}, and experts take no adapters.")
        outputs, inputs = count_part(self._shape, part)
        a, b = tuple(pair.a_RI.shape), tuple(pair.b_OR.shape)
        if len(a) != 2 or a[0] < 1 or a[1] != inputs or b != (outputs, a[0]):
            raise ValueError(
                f"an adapter's {part} of layer {layer} is {a} and {b}; "
                f"(rank, {inputs}) and ({outputs}, rank) fit."
            )


def _take_batch(batch: StepBatch) -> list[Tensor]:
    """Return the batch's tensors in the order of `StepSource`, checked but for their numbers."""
    num_requests = batch.context_lengths_S.shape[0]
    lengths: dict[str, tuple[int | None, ...]] = {
        "token_ids_N": (None,),
        "positions_N": (batch.token_ids_N.shape[0],),
        "query_starts_S1": (num_requests + 1,),
        "context_lengths_S": (None,),
        "block_tables_SB": (num_requests, None),
        "logits_rows_R": (None,),
        "adapters_S": (num_requests,),
    }
    tensors = []
    for name, wanted in lengths.items():
        tensor: Tensor = getattr(batch, name)
        if tensor.dtype != torch.int32 or tensor.device.type != "cpu":
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, not int32 on the CPU.")
        fits = tensor.dim() == len(wanted) and all(
            length is None or length == found
            for length, found in zip(wanted, tensor.shape, strict=True)
        )
        if not fits:
            sizes = " x ".join("any" if length is None else str(length) for length in wanted)
            raise ValueError(f"{name} is of shape {tuple(tensor.shape)}, not {sizes}.")
        tensors.append(tensor.contiguous())
    return tensors


def _check_numbers(
    shape: DecoderShape,
    num_blocks: int,
    block_size: int,
    num_threads: int,
    max_adapters: int,
    options: CpuOptions,
) -> None:
    if num_blocks < 1:
        raise ValueError(f"num_blocks is {num_blocks} and must be at least 1.")
    if block_size < _CELL or block_size % _CELL:
        raise ValueError(f"block_size is {block_size} and must be a multiple of {_CELL}.")
    if not 1 <= num_threads <= _MOST_THREADS:
        raise ValueError(f"num_threads is {num_threads} and must be 1 to {_MOST_THREADS}.")
    if max_adapters < 0:
        raise ValueError(f"max_adapters is {max_adapters} and must not be negative.")
    if options.kv_bits not in _KV_KINDS:
        raise ValueError(f"kv_bits is {options.kv_bits} and must be 16, 8 or 4.")
    if options.kv_kept_layers < 0:
        raise ValueError(f"kv_kept_layers is {options.kv_kept_layers} and must not be negative.")


def _check_pool_fits(wanted: int) -> None:
    """Refuse a pool larger than the machine: pages are given when touched, so nothing else would.

    Raises:
        MemoryError: with both sizes.
    """
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > there:
        raise MemoryError(
            f"the pool of keys and values would take {wanted / 2**30:.1f} GiB and this machine "
            f"has {there / 2**30:.1f} GiB: lower num_blocks or kv_bits."
        )


def _describe(shape: DecoderShape, options: CpuOptions, embedding: Tensor) -> ModelSource:
    return ModelSource(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        num_layers=shape.num_layers,
        num_experts_per_token=shape.num_experts_per_token,
        is_gelu=shape.activation == "gelu_tanh",
        max_positions=shape.max_positions,
        kv_kind=_KV_KINDS[options.kv_bits],
        kv_kept_layers=min(options.kv_kept_layers, shape.num_layers),
        kv_keeps_sinks=options.kv_keeps_sinks,
        norm_eps=shape.norm_eps,
        attention_scale=shape.attention_scale or shape.head_dim**-0.5,
        embedding_scale=shape.embedding_scale,
        is_embedding_bf16=embedding.dtype == torch.bfloat16,
        embedding=embedding.data_ptr(),
    )


def _take_embedding(embedding: Tensor) -> Tensor:
    dtype = torch.bfloat16 if embedding.dtype == torch.bfloat16 else torch.float32
    return embedding.detach().to(device="cpu", dtype=dtype).contiguous()


def _is_all_float32(weights: DecoderWeights) -> bool:
    """Say whether keys and values deserve float32: a bf16 or quantized model gains nothing."""
    return all(
        linear.kind == "dense" and linear.weight.dtype != torch.bfloat16
        for layer in weights.layers
        for linear in (layer.query, layer.key, layer.value, layer.output)
    )
