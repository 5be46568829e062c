"""Lays a step's chunks out as the flat batch that a decoder takes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.serve.decoder.step import StepBatch
from engine.serve.plan import Chunk


def make_batch(
    chunks: Sequence[Chunk],
    slots: Sequence[int],
    *,
    wants_all_rows: bool = False,
    unread_ids_N: Tensor | None = None,
) -> StepBatch:
    """Return the batch of some chunks, each with its adapter's slot.

    Wanted are the rows of the chunks that end their stream, in order, or all rows. With
    `unread_ids_N` each chunk is the one token behind its stream's, and lies there.
    """
    token_ids: list[int] = []
    positions: list[int] = []
    starts, rows = [0], []
    for chunk in chunks:
        end = chunk.start + chunk.count
        known = chunk.stream.token_ids[chunk.start : end]
        token_ids += known if unread_ids_N is None else [0]
        positions += range(chunk.start, end)
        starts.append(len(token_ids))
        if chunk.is_last or unread_ids_N is not None:
            rows.append(len(token_ids) - 1)
    width = max(len(chunk.stream.blocks) for chunk in chunks)
    tables = [[*c.stream.blocks, *[-1] * (width - len(c.stream.blocks))] for c in chunks]
    return StepBatch(
        token_ids_N=_pack(token_ids),
        positions_N=_pack(positions),
        query_starts_S1=_pack(starts),
        context_lengths_S=_pack([chunk.start + chunk.count for chunk in chunks]),
        block_tables_SB=torch.tensor(tables, dtype=torch.int32),
        logits_rows_R=_pack(range(len(token_ids)) if wants_all_rows else rows),
        adapters_S=_pack(slots),
        unread_ids_N=unread_ids_N,
    )


def _pack(values: Sequence[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)
