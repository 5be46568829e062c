"""Cuts a stream into chunks where its content says so, as "Content-Defined Chunking" of Xet 1.1.0.

The rolling hash is `h = (h << 1) + GEAR[byte]` modulo 2**64, so it knows the last 64 bytes only and
a cut needs 8 KiB before it: every place's hash may be computed by itself. numpy does so for a
megabyte at once, in six doublings: the hash over 2n bytes is the one over the last n, plus the one
over the n before, shifted by n.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from studio.hub.xet.gear_table import GEAR

MIN_CHUNK_BYTES = 8 * 2**10
MAX_CHUNK_BYTES = 128 * 2**10
_PIECE_BYTES = 2**20
_WINDOW = 64  # bytes that a 64-bit hash remembers
_GEAR = np.array(GEAR, dtype=np.uint64)
_LEAST_OTHER = np.uint64(2**48)  # below it, the 16 highest bits are the zeros that end a chunk
_BLOCK_BYTES = 2**15  # as many hashes as stay in a core's own cache


def iter_chunks(source: BinaryIO) -> Iterator[bytes]:
    """Yield a stream's chunks in order: 8 to 128 KiB each, the last may be shorter."""
    held = bytearray()
    while piece := source.read(_PIECE_BYTES):
        held += piece
        cuts = find_cuts(held)
        begin = 0
        # The rest may yet become a longer chunk, but for what cannot grow any more.
        for end in cuts:
            yield bytes(held[begin:end])
            begin = end
        del held[:begin]
    if held:
        yield bytes(held)


def find_cuts(data: bytes | bytearray | memoryview) -> list[int]:
    """Return where chunks end in data that begins with one; the rest is no whole chunk."""
    places = _find_places(data)
    cuts: list[int] = []
    begin = next_place = 0
    while True:
        first, last = begin + MIN_CHUNK_BYTES, begin + MAX_CHUNK_BYTES
        next_place += int(np.searchsorted(places[next_place:], first))
        end = int(places[next_place]) if next_place < len(places) else last
        end = min(end, last)
        if end > len(data):
            return cuts
        cuts.append(end)
        begin = end


def _find_places(data: bytes | bytearray | memoryview) -> NDArray[np.int64]:
    """Return the places, as lengths, where the hash of the 64 bytes before has its zeros."""
    numbers = np.frombuffer(data, dtype=np.uint8)
    found = [np.zeros(0, dtype=np.int64)]
    for begin in range(0, len(numbers), _BLOCK_BYTES):
        before = min(_WINDOW, begin)
        hashes = _hash_places(numbers[begin - before : begin + _BLOCK_BYTES])
        found.append(np.flatnonzero(hashes[before:] < _LEAST_OTHER) + (begin + 1))
    return np.concatenate(found)


def _hash_places(numbers: NDArray[np.uint8]) -> NDArray[np.uint64]:
    hashes = _GEAR[numbers]
    span = 1
    while span < _WINDOW:
        shifted = hashes[:-span] << np.uint64(span)
        hashes[span:] += shifted
        span *= 2
    return hashes
