"""The operations of a decoder's pass by Triton, where that gains. S requests, B blocks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.serve.decoder.attention import Attending
from engine.serve.decoder.kernels import Decodes, upload
from engine.serve.decoder.operations import apply_linear
from engine.serve.decoder.pool import LayerPool
from engine.serve.decoder.triton.attention import attend_decode
from engine.serve.decoder.triton.matmul import can_multiply, multiply_int4
from engine.serve.decoder.triton.norm import add_and_norm
from engine.serve.decoder.weights import LinearWeights

_MOST_ROWS = 64
"""With more the product is bound by arithmetic, and widening the weights once costs less."""


class TritonDecodes:
    """All requests with one new token, read where their blocks lie."""

    def __init__(self, rows_S: Tensor, tables_SB: Tensor, lengths_S: Tensor) -> None:
        """Tables and lengths are int32; of a row of nobody the length is 0."""
        self.rows_S = rows_S
        self._tables_SB, self._lengths_S = tables_SB, lengths_S

    def attend(self, query_NHD: Tensor, pool: LayerPool, how: Attending) -> Tensor:
        """Return S x H x D."""
        query = query_NHD[self.rows_S]
        return attend_decode(query, pool, self._tables_SB, self._lengths_S, how)


class TritonKernels:
    """Triton's, on `device`; a CPU only with Triton's interpreter."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def apply_linear(self, rows_NI: Tensor, linear: LinearWeights) -> Tensor:
        """Return N x O in the dtype of the rows."""
        if can_multiply(linear) and len(rows_NI) <= _MOST_ROWS:
            return multiply_int4(rows_NI, linear)
        return apply_linear(rows_NI, linear)

    def add_and_norm(
        self, hidden_NE: Tensor, added_NE: Tensor | None, weight_E: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Return the sum and its norm."""
        return add_and_norm(hidden_NE, added_NE, weight_E, eps)

    def group_decodes(
        self, rows_S: Tensor, tables_SB: Tensor, lengths_S: Tensor, block_size: int
    ) -> Sequence[Decodes]:
        """Return one group; a table is as wide as the longest needs."""
        if not len(rows_S):
            return ()
        width = -(-int(lengths_S.max()) // block_size)
        tables = tables_SB[:, :width].int().contiguous()
        own = (rows_S, tables, lengths_S.int())
        return (TritonDecodes(*(upload(each, self._device) for each in own)),)
