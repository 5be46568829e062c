"""What a file of weights says of its tensors: their names, types and shapes, from its header alone.

Not a loader: no weight is read. Headers come from strangers, so each count in them is bounded.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from studio.hub.gguf import read_gguf_header

_MAX_HEADER_BYTES = 64 * 2**20
_MOST_TENSORS = 200_000
_MOST_DIMENSIONS = 16
_MOST_NUMBERS = 10**15
_LONGEST = 300
_MOST_METADATA = 64


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file."""

    name: str
    dtype: str
    shape: list[int]

    @property
    def num_params(self) -> int:
        """Return how many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """All that a file of weights says before its first weight."""

    format: str
    tensors: list[Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def num_params(self) -> int:
        """Return how many numbers the file holds."""
        return sum(tensor.num_params for tensor in self.tensors)

    def count_by_dtype(self) -> dict[str, int]:
        """Return how many numbers there are of each type, most first."""
        counted: Counter[str] = Counter()
        for tensor in self.tensors:
            counted[tensor.dtype] += tensor.num_params
        return dict(counted.most_common())


def is_weights(path: str) -> bool:
    """Say whether a file's header can be read, by its name."""
    return path.lower().endswith((".safetensors", ".gguf"))


def read_header(file: BinaryIO, path: str) -> Header:
    """Return what a file of weights says of itself.

    Raises:
        ValueError: its header is none; the message says why, to follow the file's name.
    """
    return read_gguf(file) if path.lower().endswith(".gguf") else read_safetensors(file)


def read_safetensors(file: BinaryIO) -> Header:
    """Return the header of a safetensors file.

    Format: https://github.com/huggingface/safetensors#format.

    Raises:
        ValueError: there is none.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= _MAX_HEADER_BYTES:
        raise ValueError("it has no safetensors header")
    try:
        header = json.loads(file.read(length))
    except RecursionError as error:
        raise ValueError("its safetensors header is no object") from error
    if not isinstance(header, dict):
        raise ValueError("its safetensors header is no object")
    metadata = header.pop("__metadata__", None)
    tensors = [_read_tensor(name, entry) for name, entry in header.items()]
    return _check(Header("safetensors", tensors, _shorten(metadata)))


def read_gguf(file: BinaryIO) -> Header:
    """Return the header of a GGUF file.

    Raises:
        ValueError: there is none, or it is of a version that is not known.
    """
    metadata, entries = read_gguf_header(file)
    tensors = [Tensor(clean(name), dtype, shape) for name, dtype, shape in entries]
    return _check(Header("gguf", tensors, _shorten(metadata)))


def clean(text: str) -> str:
    """Return a text as it can be sent, cut to what a page shows."""
    return text[:_LONGEST].encode("utf-8", "replace").decode()


def _read_tensor(name: str, entry: Any) -> Tensor:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("its safetensors header names a tensor without a shape")
    return Tensor(clean(name), clean(str(entry.get("dtype", ""))), shape)


def _check(header: Header) -> Header:
    if len(header.tensors) > _MOST_TENSORS:
        raise ValueError(f"its header names more than {_MOST_TENSORS} tensors")
    if any(len(tensor.shape) > _MOST_DIMENSIONS for tensor in header.tensors):
        raise ValueError("its header names a tensor of too many dimensions")
    if any(max(tensor.shape, default=0) > _MOST_NUMBERS for tensor in header.tensors):
        raise ValueError("its header names more weights than could be there")
    if header.num_params > _MOST_NUMBERS:
        raise ValueError("its header names more weights than could be there")
    return header


def _shorten(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict):
        return {}
    kept = list(metadata.items())[:_MOST_METADATA]
    return {clean(str(name)): clean(str(value)) for name, value in kept}
