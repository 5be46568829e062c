"""The pool of key-value blocks of one layer, in floats, int8 or int4.

Quantized online, each token and head by itself (as KIVI, arXiv 2402.02750, does for values; keys
go by channel there, which a pool that is written token by token cannot). Block `num_blocks`, one
more than is promised, is a place that rows of nobody are written to; it is never anyone's.
N tokens, B blocks, K key-value heads, D head width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

KvKind = Literal["dense", "int8", "int4"]
KV_KINDS: dict[int, KvKind] = {16: "dense", 8: "int8", 4: "int4"}
_TINY = 1e-8  # no scale is zero: a row of zeros stays one


@dataclass(frozen=True)
class Half:
    """Keys or values of one layer."""

    values: Tensor
    """Blocks x block size x K x D: floats or int8; of int4 D/2 bytes, the even column low."""
    scales: Tensor | None = None
    """Blocks x block size x K, float32."""
    lows: Tensor | None = None
    """int4: what code 0 stands for."""

    def write(self, rows_N: Tensor, new_NKD: Tensor) -> None:
        """Put tokens where `rows_N` says: block x block size + place in it."""
        values = self.values.flatten(0, 1)
        if self.scales is None:
            values[rows_N] = new_NKD.to(values.dtype)
            return
        wide = new_NKD.float()
        scales = self.scales.flatten(0, 1)
        if self.lows is None:
            scale = wide.abs().amax(-1).div_(127).clamp_(min=_TINY)
            values[rows_N] = (wide / scale[..., None]).round_().clamp_(-127, 127).to(torch.int8)
        else:
            low = wide.amin(-1)
            scale = wide.amax(-1).sub_(low).div_(15).clamp_(min=_TINY)
            code = ((wide - low[..., None]) / scale[..., None]).round_().clamp_(0, 15)
            code = code.to(torch.uint8)
            values[rows_N] = code[..., ::2] | code[..., 1::2] << 4
            self.lows.flatten(0, 1)[rows_N] = low
        scales[rows_N] = scale

    def gather(self, blocks_B: Tensor, dtype: torch.dtype) -> Tensor:
        """Return B x block size x K x D floats."""
        values = self.values.index_select(0, blocks_B)
        if self.scales is None:
            return values if values.dtype == dtype else values.to(dtype)
        scales = self.scales.index_select(0, blocks_B)[..., None]
        if self.lows is None:
            return (values * scales).to(dtype)
        codes = torch.stack([values & 15, values >> 4], dim=-1).flatten(-2)
        lows = self.lows.index_select(0, blocks_B)[..., None]
        return (codes * scales + lows).to(dtype)

    def copy_block(self, source: int, target: int) -> None:
        """Make a block the same as another."""
        for tensor in (self.values, self.scales, self.lows):
            if tensor is not None:
                tensor[target] = tensor[source]


@dataclass(frozen=True)
class LayerPool:
    """Keys and values of one layer."""

    kind: KvKind
    keys: Half
    values: Half

    @property
    def block_size(self) -> int:
        """Positions of a block."""
        return self.keys.values.shape[1]


@dataclass(frozen=True)
class PoolShape:
    """What a pool's tensors look like."""

    num_blocks: int
    block_size: int
    num_kv_heads: int
    head_dim: int

    def make(self, kind: KvKind, dtype: torch.dtype, device: torch.device) -> LayerPool:
        """Make an empty layer."""
        return LayerPool(
            kind, self._make_half(kind, dtype, device), self._make_half(kind, dtype, device)
        )

    def _make_half(self, kind: KvKind, dtype: torch.dtype, device: torch.device) -> Half:
        heads = (self.num_blocks + 1, self.block_size, self.num_kv_heads)
        if kind == "dense":
            return Half(torch.zeros(*heads, self.head_dim, dtype=dtype, device=device))
        scales = torch.zeros(heads, device=device)
        if kind == "int8":
            values = torch.zeros(*heads, self.head_dim, dtype=torch.int8, device=device)
            return Half(values, scales)
        values = torch.zeros(*heads, self.head_dim // 2, dtype=torch.uint8, device=device)
        return Half(values, scales, torch.zeros(heads, device=device))
