"""Decode steps of a few sizes, each captured once as a CUDA graph and replayed.

A step of one token for each request is hundreds of small kernels, whose launches take longer than
they do. All that changes from step to step is in one tensor of whole numbers: it is filled on the
CPU, sent without waiting, and the graph reads it where it always is. Rows that fill a size up are
nobody's: they write to the pool's spare block and attend to nothing.
S requests filled up to a size, B blocks filled up to a width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.serve.decoder.kernels import upload
from engine.serve.decoder.plan import Plan
from engine.serve.decoder.slots import RowsOfSlots
from engine.serve.decoder.step import StepBatch
from engine.serve.decoder.triton.kernels import TritonDecodes

Pass = Callable[[Plan], Tensor]
_MOST_REQUESTS = 256
_LEAST_WIDTH = 16


@dataclass(frozen=True)
class _Size:
    requests: int
    width: int
    has_adapters: bool
    adapters_version: int
    """A stack of adapters that was made anew lies elsewhere."""


@dataclass(frozen=True)
class _Captured:
    numbers: Tensor
    """int64: tokens, positions, places in the pool, lengths, adapters (S each) and tables."""
    out: Tensor
    replay: Callable[[], None]


class DecodeGraphs:
    """The graphs of one decoder, captured as they are first needed."""

    def __init__(self, run: Pass, *, spare_row: int, block_size: int, device: torch.device) -> None:
        """`run` is what is captured; `spare_row` is the first place of the pool's spare block."""
        self._run, self._spare_row = run, spare_row
        self._block_size, self._device = block_size, device
        self._captured: dict[_Size, _Captured] = {}
        # One for all graphs: each gives its result away before the next is replayed.
        self._memory = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def forward(self, batch: StepBatch, adapters_version: int) -> Tensor | None:
        """Return what `run` makes of a batch, or None of one that is not one token each."""
        count = len(batch.context_lengths_S)
        is_decode = len(batch.token_ids_N) == count == len(batch.logits_rows_R)
        if not is_decode or not 0 < count <= _MOST_REQUESTS:
            return None
        size = self._choose_size(batch, adapters_version)
        captured = self._captured.get(size)
        if captured is None:
            self._forget_older(adapters_version)
            captured = self._captured[size] = self._capture(size)
        captured.numbers.copy_(upload(self._fill(batch, size), self._device), non_blocking=True)
        if batch.unread_ids_N is not None:
            captured.numbers[: len(batch.unread_ids_N)].copy_(batch.unread_ids_N)
        captured.replay()
        return captured.out[upload(batch.logits_rows_R.long(), self._device)]

    def _choose_size(self, batch: StepBatch, adapters_version: int) -> _Size:
        has_adapters = bool((batch.adapters_S >= 0).any())
        blocks = -(-int(batch.context_lengths_S.max()) // self._block_size)
        return _Size(
            requests=_power_of_two(len(batch.context_lengths_S)),
            width=max(_LEAST_WIDTH, _power_of_two(blocks)),
            has_adapters=has_adapters,
            adapters_version=adapters_version if has_adapters else -1,
        )

    def _forget_older(self, adapters_version: int) -> None:
        for size in [*self._captured]:
            if size.adapters_version not in (-1, adapters_version):
                del self._captured[size]

    def _fill(self, batch: StepBatch, size: _Size) -> Tensor:
        count, room = len(batch.context_lengths_S), size.requests
        positions, tables = batch.positions_N.long(), batch.block_tables_SB.long()
        places = tables[torch.arange(count), positions // self._block_size]
        columns = torch.zeros(5, room, dtype=torch.long)
        columns[2] = self._spare_row
        columns[0, :count] = batch.token_ids_N
        columns[1, :count] = positions
        columns[2, :count] = places * self._block_size + positions % self._block_size
        columns[3, :count] = batch.context_lengths_S
        columns[4, :count] = batch.adapters_S + 1
        wide = torch.zeros(room, size.width, dtype=torch.long)
        width = min(size.width, tables.shape[1])
        wide[:count, :width] = tables[:, :width].clamp(min=0)
        return torch.cat([columns.flatten(), wide.flatten()])

    def _capture(self, size: _Size) -> _Captured:
        room = size.requests
        numbers = torch.zeros(room * (5 + size.width), dtype=torch.long, device=self._device)
        numbers[2 * room : 3 * room] = self._spare_row
        if self._device.type != "cuda":  # a CPU has no graphs: the same pass, run each time
            out = self._run(self._plan(numbers, size))

            def run_again() -> None:
                out.copy_(self._run(self._plan(numbers, size)))

            return _Captured(numbers, out, run_again)
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):  # compiles kernels and sets libraries up, outside a graph
            self._run(self._plan(numbers, size))
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            out = self._run(self._plan(numbers, size))
        return _Captured(numbers, out, graph.replay)

    def _plan(self, numbers: Tensor, size: _Size) -> Plan:
        room = size.requests
        columns = numbers[: 5 * room].view(5, room)
        tables = numbers[5 * room :].view(room, size.width).int()
        rows = torch.arange(room, device=self._device)
        entries = columns[4] if size.has_adapters else None
        return Plan(
            token_ids_N=columns[0],
            positions_N=columns[1],
            written_rows=slice(None),
            pool_rows=columns[2],
            decodes=(TritonDecodes(rows, tables, columns[3].int()),),
            chunks=(),
            slots=RowsOfSlots.from_entries(entries),
            wanted_rows=rows,
        )


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
