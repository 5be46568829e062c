"""What a step needs to know of its batch, worked out once for all layers. N tokens, S requests."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.serve.decoder.attention import Chunk
from engine.serve.decoder.kernels import Decodes, Kernels, upload
from engine.serve.decoder.slots import RowsOfSlots
from engine.serve.decoder.step import StepBatch

TILE = 16
"""Rows of a tile in batch-invariant mode."""


@dataclass(frozen=True)
class Plan:
    """One pass through the layers."""

    token_ids_N: Tensor
    positions_N: Tensor
    written_rows: slice
    """The rows whose keys and values are new."""
    pool_rows: Tensor
    """Where in the pool those go: block x block size + place in it."""
    decodes: tuple[Decodes, ...]
    chunks: tuple[Chunk, ...]
    slots: RowsOfSlots
    wanted_rows: Tensor


def make_plan(batch: StepBatch, block_size: int, device: torch.device, kernels: Kernels) -> Plan:
    """Plan one pass for the whole batch."""
    starts = batch.query_starts_S1.tolist()
    lengths = batch.context_lengths_S.tolist()
    counts_S = batch.query_starts_S1.diff().long()
    tables = batch.block_tables_SB.long()
    positions = batch.positions_N.long()
    owner_N = torch.repeat_interleave(counts_S)
    blocks_N = tables[owner_N, positions // block_size]
    chunks = [
        _make_chunk(batch, index, starts, lengths[index], block_size, device)
        for index, count in enumerate(counts_S.tolist())
        if count > 1
    ]
    single = (counts_S == 1).nonzero().flatten()
    decodes = kernels.group_decodes(
        batch.query_starts_S1[single].long(),
        tables[single],
        batch.context_lengths_S[single].long(),
        block_size,
    )
    unread = batch.unread_ids_N
    return Plan(
        token_ids_N=upload(batch.token_ids_N, device) if unread is None else unread,
        positions_N=upload(positions, device),
        written_rows=slice(None),
        pool_rows=upload(blocks_N * block_size + positions % block_size, device),
        decodes=tuple(decodes),
        chunks=tuple(chunks),
        slots=RowsOfSlots(batch.adapters_S.tolist(), starts, device),
        wanted_rows=upload(batch.logits_rows_R.long(), device),
    )


def _make_chunk(
    batch: StepBatch,
    index: int,
    starts: list[int],
    length: int,
    block_size: int,
    device: torch.device,
) -> Chunk:
    num_blocks = -(-length // block_size)
    start, end = starts[index], starts[index + 1]
    return Chunk(
        start=start,
        end=end,
        first=length - (end - start),
        length=length,
        blocks_B=upload(batch.block_tables_SB[index, :num_blocks].long(), device),
        padded_length=length,
    )


def make_tiles(
    batch: StepBatch, block_size: int, device: torch.device
) -> list[tuple[Plan, list[int]]]:
    """Plan a pass for each tile of each request, so that no number depends on what is beside it.

    Each comes with its rows that are wanted; the pass gives all.

    A tile is the positions from a multiple of `TILE` up to the next. However a prompt is cut, a
    position is the same row of a product with the same number of rows, over keys padded to the same
    number: the same instructions in the same order. Rows that are not wanted now are filled up.
    """
    plans = []
    starts = batch.query_starts_S1.tolist()
    wanted = set(batch.logits_rows_R.tolist())
    for index, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
        length = int(batch.context_lengths_S[index])
        position, row = length - (end - start), start
        while row < end:
            base = position // TILE * TILE
            count = min(base + TILE - position, end - row)
            own = (row, position - base, count)
            plans.append(_make_tile(batch, index, own, base, wanted, (block_size, device)))
            position, row = position + count, row + count
    return plans


def _make_tile(
    batch: StepBatch,
    index: int,
    own: tuple[int, int, int],
    base: int,
    wanted: set[int],
    where: tuple[int, torch.device],
) -> tuple[Plan, list[int]]:
    """Plan the tile at `base`; `own` is its first row in the batch, in the tile, and how many."""
    row, offset, count = own
    block_size, device = where
    table = batch.block_tables_SB[index].long()
    positions = torch.arange(base, base + TILE)
    token_ids = torch.zeros(TILE, dtype=torch.long)
    token_ids[offset : offset + count] = batch.token_ids_N[row : row + count].long()
    new = positions[offset : offset + count]
    length = base + offset + count
    # Blocks that the request does not have yet are read as its first one; they count as zeros.
    blocks = torch.arange(-(-(base + TILE) // block_size)).clamp(max=(length - 1) // block_size)
    rows = [offset + at for at in range(count) if row + at in wanted]
    plan = Plan(
        token_ids_N=token_ids.to(device),
        positions_N=positions.to(device),
        written_rows=slice(offset, offset + count),
        pool_rows=(table[new // block_size] * block_size + new % block_size).to(device),
        decodes=(),
        chunks=(Chunk(0, TILE, base, length, table[blocks].to(device), base + TILE),),
        slots=RowsOfSlots([int(batch.adapters_S[index])], [0, TILE], device),
        wanted_rows=torch.arange(TILE, device=device),
    )
    return plan, rows
