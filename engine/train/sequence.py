"""Ulysses (arXiv 2309.14509): a packed row is cut over processes, attention over heads.

Processes that share matrices (engine/train/matrices.py) cut their part of the row once more.
P processes; T positions of the whole row, t = T / P of a part; H heads, D head width.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from engine.data.batch import Batch, Layout, Pairs
from engine.train.mesh import Mesh


def take_part(batch: Batch, mesh: Mesh) -> Batch:
    """Return one process's part of a batch: its t positions and the targets that they predict.

    The row is filled up to a multiple of the parts with a sample that teaches nothing. The layout
    stays that of the whole row: attention sees it whole, for some of the heads. Where processes
    share matrices, each has a part of the part: positions are those of all of it, for attention.
    """
    sequence, tensor = mesh.options.sequence, mesh.options.tensor
    num_parts = sequence * tensor
    if num_parts == 1:
        return batch
    num_fill = -batch.num_tokens % num_parts
    size = (batch.num_tokens + num_fill) // num_parts
    fill = batch.ids_1T.new_zeros(1, num_fill)
    positions = torch.arange(num_fill, device=batch.ids_1T.device)[None]
    around = mesh.sequence_part * size * tensor
    start = around + mesh.tensor_part * size
    here = slice(start, start + size)
    is_here = (batch.source_S >= here.start) & (batch.source_S < here.stop)
    return replace(
        batch,
        ids_1T=torch.cat([batch.ids_1T, fill], 1)[:, here],
        positions_1T=torch.cat([batch.positions_1T, positions], 1)[
            :, around : around + size * tensor
        ],
        source_S=batch.source_S[is_here] - here.start,
        target_S=batch.target_S[is_here],
        weight_S=None if batch.weight_S is None else batch.weight_S[is_here],
        pairs=_take_pairs(batch.pairs, is_here, here),
        layout=replace(_fill_layout(batch, num_fill), group=mesh.sequence_group),
        sharers=mesh.row_group,
    )


def _take_pairs(pairs: Pairs | None, is_here: Tensor, here: slice) -> Pairs | None:
    """Keep who owns the positions that are here; a last token that is elsewhere is at -1."""
    if pairs is None:
        return None
    last = pairs.last_P2
    inside = (last >= here.start) & (last < here.stop)
    return Pairs(pairs.side_S[is_here], torch.where(inside, last - here.start, -1))


def _fill_layout(batch: Batch, num_fill: int) -> Layout:
    layout, end = batch.layout, batch.num_tokens
    if not num_fill:
        return layout
    device = layout.inverse_T.device
    places = torch.arange(num_fill, device=device)
    return replace(
        layout,
        buckets=(*layout.buckets, (end + places)[None]),
        kept=(*layout.kept, places),
        inverse_T=torch.cat([layout.inverse_T, end + places]),
        units_U5=torch.cat([layout.units_U5, torch.tensor([[0, 0, 0, end, num_fill]])]),
    )


class _Exchange(torch.autograd.Function):
    """One all-to-all, whose backward is the same all-to-all: equal pieces go both ways."""

    @staticmethod
    def forward(ctx: Any, pieces: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _exchange(pieces, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _exchange(grads[0], ctx.group), None


def _exchange(pieces: Tensor, group: dist.ProcessGroup) -> Tensor:
    pieces = pieces.contiguous()
    out = torch.empty_like(pieces)
    dist.all_to_all_single(out, pieces, group=group)
    return out


def gather_rows(part_HtD: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Turn all heads of a part (H x t x D) into a share of the heads of the row (H/P x T x D)."""
    size = dist.get_world_size(group)
    heads, length, width = part_HtD.shape
    pieces = part_HtD.view(size, heads // size, length, width)
    got: Tensor = _Exchange.apply(pieces, group)
    return got.transpose(0, 1).reshape(heads // size, size * length, width)


def scatter_rows(row_hTD: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Undo `gather_rows`."""
    size = dist.get_world_size(group)
    heads, length, width = row_hTD.shape
    pieces = row_hTD.view(heads, size, length // size, width).transpose(0, 1)
    got: Tensor = _Exchange.apply(pieces, group)
    return got.reshape(size * heads, length // size, width)
