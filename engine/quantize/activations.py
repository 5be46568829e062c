"""What flows between layers, for many windows: in memory while it is small, else in a file.

And what a layer's inputs are remembered by. W windows, T positions, E hidden width, I inputs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

IN_MEMORY_BYTES = 2**28  # of one stream; beyond it lies in a file of the run's folder
CHUNK_TOKENS = 2048  # that pass a layer at once
NUM_ROWS = 512  # inputs of a layer that are kept as they are


class Activations:
    """Hidden states of W windows of T tokens, float32, read and overwritten chunk by chunk."""

    def __init__(self, ids_WT: Tensor, width: int, scratch: Path) -> None:
        self.ids_WT = ids_WT
        self._shape = (*ids_WT.shape, width)
        self.windows_at_once = max(1, CHUNK_TOKENS // ids_WT.shape[1])
        size = 4 * ids_WT.numel() * width
        self._memory = torch.empty(self._shape) if size <= IN_MEMORY_BYTES else None
        self._file = None
        if self._memory is None:
            self._file = tempfile.TemporaryFile(dir=scratch, prefix="activations-")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def list_chunks(self) -> list[slice]:
        """Return the windows of each chunk."""
        step = self.windows_at_once
        return [slice(at, min(at + step, self._shape[0])) for at in range(0, self._shape[0], step)]

    def read(self, chunk: slice) -> Tensor:
        """Return a chunk's hidden states."""
        if self._memory is not None:
            return self._memory[chunk]
        assert self._file is not None
        made = torch.empty(chunk.stop - chunk.start, *self._shape[1:])
        self._file.seek(chunk.start * self._window_bytes)
        self._file.readinto(_as_bytes(made))
        return made

    def write(self, chunk: slice, hidden: Tensor) -> None:
        """Put hidden states in the place of a chunk's."""
        if self._memory is not None:
            self._memory[chunk] = hidden.cpu()
            return
        assert self._file is not None
        self._file.seek(chunk.start * self._window_bytes)
        self._file.write(_as_bytes(hidden.cpu().contiguous()))

    def iter_chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield each chunk with its hidden states."""
        for chunk in self.list_chunks():
            yield chunk, self.read(chunk)

    @property
    def _window_bytes(self) -> int:
        return 4 * self._shape[1] * self._shape[2]


def _as_bytes(tensor: Tensor) -> Any:
    """Return a view of a tensor's memory."""
    return memoryview(tensor.numpy()).cast("B")  # type: ignore[arg-type]


class InputStats:
    """What a linear layer's input is remembered by, over all chunks of a calibration."""

    def __init__(
        self, width: int, device: torch.device, *, num_chunks: int, has_gram: bool
    ) -> None:
        self.gram_II = torch.zeros(width, width, device=device) if has_gram else None
        """Sum of x x^T."""
        self.reach_I = torch.zeros(width, device=device)
        """Largest absolute value."""
        self._sums_I = torch.zeros(width, device=device)
        self._count = 0
        self._rows: list[Tensor] = []
        self._rows_each = -(-NUM_ROWS // num_chunks)

    def add(self, inputs: Tensor) -> None:
        """Take a chunk's inputs, any shape that ends with I."""
        rows_RI = inputs.reshape(-1, inputs.shape[-1])
        if self.gram_II is not None:
            self.gram_II.addmm_(rows_RI.T, rows_RI)
        sizes = rows_RI.abs()
        self.reach_I = torch.maximum(self.reach_I, sizes.amax(dim=0))
        self._sums_I += sizes.sum(dim=0)
        self._count += len(rows_RI)
        places = torch.linspace(0, len(rows_RI) - 1, min(self._rows_each, len(rows_RI)))
        self._rows.append(rows_RI[places.long().to(rows_RI.device)].clone())

    @property
    def magnitude_I(self) -> Tensor:
        """Mean absolute value."""
        return self._sums_I / max(1, self._count)

    @property
    def rows_RI(self) -> Tensor:
        """Some of the inputs, spread over all chunks."""
        return torch.cat(self._rows)
