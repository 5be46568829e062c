"""The operations that have more than one implementation, and the one in plain torch.

N rows, E hidden width, S requests, B blocks each.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.serve.decoder.attention import Attending, DecodeGroup
from engine.serve.decoder.operations import apply_linear, rms_norm
from engine.serve.decoder.pool import LayerPool
from engine.serve.decoder.weights import LinearWeights


class Decodes(Protocol):
    """Requests with one new token each."""

    rows_S: Tensor
    """Their rows in the batch."""

    def attend(self, query_NHD: Tensor, pool: LayerPool, how: Attending) -> Tensor:
        """Return S x H x D."""
        ...


class Kernels(Protocol):
    """What a decoder's pass is made of."""

    def apply_linear(self, rows_NI: Tensor, linear: LinearWeights) -> Tensor:
        """Return N x O in the dtype of the rows."""
        ...

    def add_and_norm(
        self, hidden_NE: Tensor, added_NE: Tensor | None, weight_E: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Return the sum and its norm."""
        ...

    def group_decodes(
        self, rows_S: Tensor, tables_SB: Tensor, lengths_S: Tensor, block_size: int
    ) -> Sequence[Decodes]:
        """Put requests with one new token into groups, from tensors on the CPU; -1 fills tables."""
        ...


class TorchKernels:
    """Plain torch, on `device`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def apply_linear(self, rows_NI: Tensor, linear: LinearWeights) -> Tensor:
        """Return N x O in the dtype of the rows."""
        return apply_linear(rows_NI, linear)

    def add_and_norm(
        self, hidden_NE: Tensor, added_NE: Tensor | None, weight_E: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Return the sum and its norm."""
        total = hidden_NE if added_NE is None else hidden_NE + added_NE
        return total, rms_norm(total, weight_E, eps)

    def group_decodes(
        self, rows_S: Tensor, tables_SB: Tensor, lengths_S: Tensor, block_size: int
    ) -> Sequence[Decodes]:
        """Put those together that are less than twice as long as each other: half is never padding.

        Entries of a table behind its request's last block are read as its first, and masked.
        """
        sizes_S = (lengths_S + block_size - 1) // block_size
        members: dict[int, list[int]] = {}
        for index, size in enumerate(sizes_S.tolist()):
            members.setdefault(size.bit_length(), []).append(index)
        groups = []
        for chosen in map(torch.tensor, members.values()):
            sizes = sizes_S[chosen]
            tables = tables_SB[chosen, : int(sizes.max())]
            is_own = torch.arange(tables.shape[1]) < sizes[:, None]
            tables = torch.where(is_own, tables, tables[:, :1])
            rows, tables, lengths = (
                upload(each, self._device) for each in (rows_S[chosen], tables, lengths_S[chosen])
            )
            groups.append(DecodeGroup(rows, tables, lengths, block_size))
        return groups


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Send a small CPU tensor to a device; to a GPU without waiting for it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
