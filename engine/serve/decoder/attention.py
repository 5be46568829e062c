"""Causal attention of new tokens over the pool's blocks, in plain torch.

Requests with one new token attend together, padded to their longest; a prompt's chunk by itself.
Padding never holds what somebody else left in a block: a number that is not finite would spoil a
sum even with no weight. S requests, N tokens, B blocks each, T places, H heads, K key-value heads,
Q query heads of each, D head width.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.serve.decoder.pool import Half, LayerPool


@dataclass(frozen=True)
class Attending:
    """What attention needs to know besides queries and pool."""

    num_kv_heads: int
    scale: float
    window: int | None


class DecodeGroup:
    """Requests of about the same length, with one new token each."""

    def __init__(
        self, rows_S: Tensor, tables_SB: Tensor, lengths_S: Tensor, block_size: int
    ) -> None:
        """A table is filled up with its first block, which is full where there is another."""
        self.rows_S, self.lengths_S = rows_S, lengths_S
        self._block_size = block_size
        self._tables_SB = tables_SB
        device = rows_S.device
        self._last_S = (lengths_S - 1) // block_size
        self._each_S = torch.arange(len(rows_S), device=device)
        place = torch.arange(block_size, device=device)
        self._has_more = place <= ((lengths_S - 1) % block_size)[:, None]
        self._masks: dict[int | None, Tensor] = {}
        self._narrower: dict[int, DecodeGroup] = {}

    def attend(self, query_NHD: Tensor, pool: LayerPool, how: Attending) -> Tensor:
        """Return S x H x D."""
        group = self if how.window is None else self._narrow(how.window)
        query = query_NHD[self.rows_S].unflatten(1, (how.num_kv_heads, -1))
        key, value = (group._gather(half, query.dtype) for half in (pool.keys, pool.values))
        out_SKQD = F.scaled_dot_product_attention(
            query, key, value, attn_mask=group._get_mask(how.window), scale=how.scale
        )
        return out_SKQD.flatten(1, 2)

    def _narrow(self, window: int) -> "DecodeGroup":
        """Return the group with only the blocks that a window reaches, the same number for each."""
        if window not in self._narrower:
            first_S = (self.lengths_S - window).clamp(min=0) // self._block_size
            width = int((self._last_S - first_S).max()) + 1
            first_S = (self._last_S + 1 - width).clamp(min=0)
            index_SB = first_S[:, None] + torch.arange(width, device=first_S.device)
            index_SB = torch.where(index_SB <= self._last_S[:, None], index_SB, 0)
            self._narrower[window] = DecodeGroup(
                self.rows_S,
                self._tables_SB.gather(1, index_SB),
                self.lengths_S - first_S * self._block_size,
                self._block_size,
            )
        return self._narrower[window]

    def _gather(self, half: Half, dtype: torch.dtype) -> Tensor:
        found = half.gather(self._tables_SB.flatten(), dtype)
        found = found.unflatten(0, self._tables_SB.shape)
        last = found[self._each_S, self._last_S]
        found[self._each_S, self._last_S] = torch.where(self._has_more[..., None, None], last, 0)
        return found.flatten(1, 2).transpose(1, 2)

    def _get_mask(self, window: int | None) -> Tensor:
        if window not in self._masks:
            width = self._tables_SB.shape[1] * self._block_size
            place = torch.arange(width, device=self.rows_S.device)
            length = self.lengths_S[:, None]
            mask = place < length
            if window is not None:
                mask &= place >= length - window
            self._masks[window] = mask[:, None, None]
        return self._masks[window]


@dataclass(frozen=True)
class Chunk:
    """The new tokens of one request that has several."""

    start: int
    end: int
    """The rows from start up to end."""
    first: int
    """Position of the first of them."""
    length: int
    """Positions that lie in the pool after this step."""
    blocks_B: Tensor
    padded_length: int
    """Positions that attention goes over; those from `length` on are zeros."""

    def attend(self, query_NHD: Tensor, pool: LayerPool, how: Attending) -> Tensor:
        """Return N x H x D of the chunk's rows."""
        query = query_NHD[self.start : self.end].transpose(0, 1)[None]
        seen = self if how.window is None else self._narrow(how.window, pool.block_size)
        key, value = (seen._gather(half, query.dtype) for half in (pool.keys, pool.values))
        is_whole = query.shape[2] == seen.padded_length and (
            how.window is None or how.window >= seen.padded_length
        )
        if query.device.type == "cuda":  # its kernels that take a mask share no heads
            shared = query.shape[1] // key.shape[1]
            key, value = (half.repeat_interleave(shared, dim=1) for half in (key, value))
        out = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if is_whole else seen._make_mask(how.window, query.device),
            is_causal=is_whole,
            scale=how.scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return out[0].transpose(0, 1)

    def _narrow(self, window: int, block_size: int) -> "Chunk":
        """Return the chunk without the blocks that its first row no longer sees."""
        cut = max(0, self.first - window + 1) // block_size
        return replace(
            self,
            first=self.first - cut * block_size,
            length=self.length - cut * block_size,
            blocks_B=self.blocks_B[cut:],
            padded_length=self.padded_length - cut * block_size,
        )

    def _gather(self, half: Half, dtype: torch.dtype) -> Tensor:
        found = half.gather(self.blocks_B, dtype).flatten(0, 1)[: self.padded_length]
        if self.length < self.padded_length:
            found[self.length :] = 0
        return found.transpose(0, 1)[None]

    def _make_mask(self, window: int | None, device: torch.device) -> Tensor:
        last = self.first + self.end - self.start
        query = torch.arange(self.first, last, device=device)[:, None]
        key = torch.arange(self.padded_length, device=device)
        mask = key <= query
        return mask if window is None else mask & (key > query - window)
