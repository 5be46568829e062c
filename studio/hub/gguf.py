"""The header of a GGUF file: its words and the list of its tensors, read piece by piece.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
Not the `gguf` package: that maps a whole file, and the hub's files may be chunks in a bucket.
"""

import os
import struct
from typing import Any, BinaryIO

GgufTensor = tuple[str, str, list[int]]
"""Name, type, and shape with the slowest dimension first."""

# By the numbers of ggml's `enum ggml_type`; those left out are retired.
TYPES = {
    **dict(enumerate(["F32", "F16", "Q4_0", "Q4_1"])),
    **dict(enumerate(["Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K"], 6)),
    **dict(enumerate(["Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL"], 14)),
    **dict(enumerate(["IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M"], 21)),
    **{30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0"},
}
_MAGIC = b"GGUF"
_VERSIONS = {2, 3}
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_SCALARS |= {12: "d"}
_MOST_BYTES = 64 * 2**20
_MOST_ITEMS = 2_000_000  # the words of a large vocabulary, their scores and merges
_MOST_TENSORS = 200_000
_MOST_DIMENSIONS = 4
_MOST_DEPTH = 3


def read_gguf_header(file: BinaryIO) -> tuple[dict[str, Any], list[GgufTensor]]:
    """Return the words of a GGUF file, lists left out, and its tensors.

    Raises:
        ValueError: it is none, or its header is larger than one can be.
    """
    cursor = _Cursor(file)
    if cursor.take(4) != _MAGIC:
        raise ValueError("it has no GGUF header")
    version = cursor.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"its GGUF version {version} is not known")
    num_tensors, num_words = cursor.number("Q"), cursor.number("Q")
    if num_tensors > _MOST_TENSORS or num_words > _MOST_ITEMS:
        raise ValueError("its GGUF header names more than could be there")
    words = {}
    for _ in range(num_words):
        name = cursor.text()
        value = _read_value(cursor, cursor.number("I"))
        if value is not None:
            words[name] = value
    return words, [_read_tensor(cursor) for _ in range(num_tensors)]


class _Cursor:
    """Reads forward, and no further than a header may be long."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_BYTES
        self._items = _MOST_ITEMS

    def take(self, length: int) -> bytes:
        self._spend(length)
        data = self._file.read(length)
        if len(data) < length:
            raise ValueError("its GGUF header is cut off")
        return data

    def skip(self, length: int) -> None:
        self._spend(length)
        self._file.seek(length, os.SEEK_CUR)

    def number(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0])

    def scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", "replace")

    def count_items(self, number: int) -> None:
        self._items -= number
        if self._items < 0:
            raise ValueError("its GGUF header names more than could be there")

    def _spend(self, length: int) -> None:
        self._left -= length
        if self._left < 0:
            raise ValueError("its GGUF header is larger than one can be")


def _read_value(cursor: _Cursor, kind: int, depth: int = 0) -> Any:
    """Return a number or a text; of a list nothing, for a vocabulary is no fact."""
    cursor.count_items(1)
    if kind == _STRING:
        return cursor.text()
    if kind in _SCALARS:
        return cursor.scalar(_SCALARS[kind])
    if kind != _ARRAY or depth == _MOST_DEPTH:
        raise ValueError("its GGUF header holds a value of a kind that is not known")
    inner, length = cursor.number("I"), cursor.number("Q")
    if inner in _SCALARS:
        cursor.skip(length * struct.calcsize(f"<{_SCALARS[inner]}"))
        return None
    cursor.count_items(length)
    for _ in range(length):
        if inner == _STRING:
            cursor.skip(cursor.number("Q"))
        else:
            _read_value(cursor, inner, depth + 1)
    return None


def _read_tensor(cursor: _Cursor) -> GgufTensor:
    name, num_dimensions = cursor.text(), cursor.number("I")
    if num_dimensions > _MOST_DIMENSIONS:
        raise ValueError("its GGUF header names a tensor of too many dimensions")
    shape = [cursor.number("Q") for _ in range(num_dimensions)]
    kind = cursor.number("I")
    cursor.skip(8)  # where its weights lie
    return name, TYPES.get(kind, f"type {kind}"), shape[::-1]
