"""One model on several devices: rank 0 is the decoder that the step loop knows, the rest follow.

Each rank holds its share of the weights (`sharding`) and of the pool, which is divided by heads.
Whatever rank 0 is asked, it tells the others first; they do the same and meet in the sums. A rank
that fails leaves the others waiting until the group's own timeout ends them: a group is one failure
domain, and who runs it starts it anew whole.
"""

from collections.abc import Sequence
from dataclasses import fields
from enum import IntEnum

import torch
import torch.distributed as dist
from torch import Tensor

from engine.serve.decoder.sharding import BY_INPUTS, BY_OUTPUTS, Share
from engine.serve.decoder.step import LoraPair, StepBatch
from engine.serve.decoder.torch_decoder import TorchDecoder

Pairs = dict[tuple[int, str], LoraPair]
_BATCH_FIELDS = tuple(
    field.name for field in fields(StepBatch) if field.name != "unread_ids_N"
)  # which a group has none of
_HEADER = 2 * len(_BATCH_FIELDS) + 3  # what to do, two arguments, and each field's shape


class _Ask(IntEnum):
    FORWARD = 0
    EMBED = 1
    SET_ADAPTER = 2
    DROP_ADAPTER = 3
    COPY_BLOCK = 4
    END = 5


class ParallelDecoder:
    """Rank 0 of a group. One thread only; `close` lets the followers go."""

    def __init__(self, local: TorchDecoder, group: dist.ProcessGroup) -> None:
        self._local, self._group = local, group
        self.vocab_size = local.vocab_size
        self.block_size, self.num_blocks = local.block_size, local.num_blocks
        self.is_batch_invariant = local.is_batch_invariant
        self.goes_ahead = False  # the others are told of a step by numbers that lie here

    def forward(self, batch: StepBatch) -> Tensor:
        """As `Decoder.forward`."""
        self._send_batch(_Ask.FORWARD, batch)
        return self._local.forward(batch)

    def embed(self, batch: StepBatch) -> Tensor:
        """As `Decoder.embed`."""
        self._send_batch(_Ask.EMBED, batch)
        return self._local.embed(batch)

    def set_adapter(self, slot: int, pairs: Pairs) -> None:
        """Fill a slot on all ranks; each keeps its share.

        Raises:
            ValueError: when there is no such slot; nobody was asked then.
        """
        self._local.check_slot(slot)
        self._send(_Ask.SET_ADAPTER, slot)
        dist.broadcast_object_list([pairs], 0, group=self._group)
        self._local.set_adapter(slot, shard_pairs(pairs, _get_share(self._group)))

    def drop_adapter(self, slot: int) -> None:
        """Empty a slot on all ranks."""
        self._send(_Ask.DROP_ADAPTER, slot)
        self._local.drop_adapter(slot)

    def copy_block(self, source: int, target: int) -> None:
        """Copy a block on all ranks."""
        self._send(_Ask.COPY_BLOCK, source, target)
        self._local.copy_block(source, target)

    def close(self) -> None:
        """End the followers' loops."""
        self._send(_Ask.END)

    def _send(self, ask: _Ask, *arguments: int) -> None:
        header = torch.zeros(_HEADER, dtype=torch.int64)
        header[: 1 + len(arguments)] = torch.tensor([ask, *arguments])
        dist.broadcast(header, 0, group=self._group)

    def _send_batch(self, ask: _Ask, batch: StepBatch) -> None:
        tensors: Sequence[Tensor] = [getattr(batch, name) for name in _BATCH_FIELDS]
        header = torch.zeros(_HEADER, dtype=torch.int64)
        header[0] = ask
        for at, tensor in enumerate(tensors):
            columns = tensor.shape[1] if tensor.ndim == 2 else -1
            header[3 + 2 * at : 5 + 2 * at] = torch.tensor([tensor.shape[0], columns])
        dist.broadcast(header, 0, group=self._group)
        dist.broadcast(torch.cat([each.flatten().int() for each in tensors]), 0, group=self._group)


def lead_or_follow(local: TorchDecoder, group: dist.ProcessGroup) -> ParallelDecoder:
    """Return the group's decoder on its first rank; on the others follow it until it closes.

    What the others get then is not to be asked.
    """
    if dist.get_rank(group) > 0:
        follow(local, group)
    return ParallelDecoder(local, group)


def follow(local: TorchDecoder, group: dist.ProcessGroup) -> None:
    """Do what rank 0 does until it ends, on every other rank of the group."""
    while True:
        header = torch.empty(_HEADER, dtype=torch.int64)
        dist.broadcast(header, 0, group=group)
        ask, first, second = _Ask(int(header[0])), int(header[1]), int(header[2])
        match ask:
            case _Ask.FORWARD:
                local.forward(_receive_batch(header, group))
            case _Ask.EMBED:
                local.embed(_receive_batch(header, group))
            case _Ask.SET_ADAPTER:
                box: list[Pairs] = [{}]
                dist.broadcast_object_list(box, 0, group=group)
                local.set_adapter(first, shard_pairs(box[0], _get_share(group)))
            case _Ask.DROP_ADAPTER:
                local.drop_adapter(first)
            case _Ask.COPY_BLOCK:
                local.copy_block(first, second)
            case _Ask.END:
                return


def shard_pairs(pairs: Pairs, share: Share) -> Pairs:
    """Return a rank's part of an adapter: B's rows, or of what reads a share of the inputs A's
    columns, whose products are summed with the base's."""
    out: Pairs = {}
    for (layer, name), pair in pairs.items():
        if name in BY_OUTPUTS:
            start, end = share.get_range(pair.b_OR.shape[0])
            out[layer, name] = LoraPair(pair.a_RI, pair.b_OR[start:end])
        else:
            assert name in BY_INPUTS
            start, end = share.get_range(pair.a_RI.shape[1])
            out[layer, name] = LoraPair(pair.a_RI[:, start:end], pair.b_OR)
    return out


def _receive_batch(header: Tensor, group: dist.ProcessGroup) -> StepBatch:
    shapes = [
        tuple(size for size in header[3 + 2 * at : 5 + 2 * at].tolist() if size >= 0)
        for at in range(len(_BATCH_FIELDS))
    ]
    sizes = [torch.Size(shape).numel() for shape in shapes]
    flat = torch.empty(sum(sizes), dtype=torch.int32)
    dist.broadcast(flat, 0, group=group)
    parts = [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]
    return StepBatch(**dict(zip(_BATCH_FIELDS, parts, strict=True)))


def _get_share(group: dist.ProcessGroup) -> Share:
    return Share(dist.get_rank(group), dist.get_world_size(group))
