"""Reads files out of xorbs: only the chunks that are wanted, and no database once it is open."""

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, BinaryIO

from studio.hub.storage import ObjectStore, get_store
from studio.hub.xet.hashes import HASH_BYTES
from studio.hub.xet.models import XetFile
from studio.hub.xet.xorbs import XorbIndex, unpack_chunks

_WINDOW_BYTES = 4 * 2**20
_TAIL_BYTES = 64 * 2**10  # the index of most xorbs, in one read
_COUNT_BYTES = 4
_ENTRY_BYTES = HASH_BYTES + 8
# An index of 1000 chunks is some 100 KiB in memory.
_KEPT_INDEXES = 256


@dataclass(frozen=True)
class Run:
    """Chunks `[start, end)` of a xorb, which are `unpacked_bytes` of a file."""

    xorb: str
    start: int
    end: int
    unpacked_bytes: int


def list_runs(file: XetFile) -> list[Run]:
    """Return the runs of chunks that make a file, in order."""
    hashes = file.xorb_hashes
    return [Run(hashes[place], start, end, length) for place, start, end, length in file.terms]


def append_index(index: XorbIndex) -> bytes:
    """Return what is stored behind a xorb's chunks: its index, and how many chunks there are."""
    return index.to_bytes() + len(index).to_bytes(_COUNT_BYTES, "little")


def read_index(xorb: str) -> XorbIndex:
    """Return the index of a stored xorb; it never changes, so the last ones asked for are kept.

    Raises:
        FileNotFoundError: the xorb is not there.
    """
    return _read_index(_Place(get_store("xorbs")), xorb)


def measure_xorb(xorb: str) -> int:
    """Return how many bytes of a stored xorb are its chunks."""
    return read_index(xorb).packed_bytes


def open_xet_file(file: XetFile) -> BinaryIO:
    """Open a file of chunks for reading; it seeks."""
    return io.BufferedReader(XetReader(list_runs(file)), buffer_size=2**20)


class XetReader(io.RawIOBase):
    """A file of chunks. A window of some 4 MiB of it is in memory."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """Read from these runs."""
        self._runs = runs
        self._ends = list(accumulate(run.unpacked_bytes for run in runs))
        self._at = 0
        self._window = memoryview(b"")
        self._window_begin = 0

    def readable(self) -> bool:
        """Say that it reads."""
        return True

    def seekable(self) -> bool:
        """Say that it seeks."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read on, to the end of the window at most."""
        if self._at >= self._size_bytes or not len(buffer):
            return 0
        if not 0 <= self._at - self._window_begin < len(self._window):
            self._load()
        begin = self._at - self._window_begin
        piece = self._window[begin : begin + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    @property
    def _size_bytes(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _load(self) -> None:
        number = bisect_right(self._ends, self._at)
        run = self._runs[number]
        run_begin = self._ends[number] - run.unpacked_bytes
        index = read_index(run.xorb)
        base = index.unpacked_range(run.start, run.end)[0]
        first = index.find_chunk(base + self._at - run_begin)
        begin = index.unpacked_range(first, run.end)[0]
        end = min(max(index.find_chunk(begin + _WINDOW_BYTES), first + 1), run.end)
        packed_begin, packed_end = index.packed_range(first, end)
        packed = get_store("xorbs").read(run.xorb, packed_begin, packed_end - packed_begin)
        data = b"".join(unpack_chunks(packed))
        if len(data) != index.unpacked_range(first, end)[1] - begin:
            raise OSError(f"xorb {run.xorb[:12]} is shorter than its index says")
        self._window, self._window_begin = memoryview(data), run_begin + begin - base


def iter_pieces(runs: Sequence[Run]) -> Iterator[memoryview]:
    """Yield a whole file, window by window."""
    reader = XetReader(runs)
    buffer = bytearray(_WINDOW_BYTES)
    while count := reader.readinto(buffer):
        yield memoryview(buffer)[:count]


class _Place:
    """A storage as part of a key: one storage's xorbs are not another's."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and self.store is other.store

    def __hash__(self) -> int:
        return id(self.store)


@lru_cache(maxsize=_KEPT_INDEXES)
def _read_index(place: _Place, xorb: str) -> XorbIndex:
    store = place.store
    tail = store.read(xorb, -_TAIL_BYTES, _TAIL_BYTES)
    num_bytes = int.from_bytes(tail[-_COUNT_BYTES:], "little") * _ENTRY_BYTES + _COUNT_BYTES
    if num_bytes > len(tail):
        tail = store.read(xorb, -num_bytes, num_bytes)
    return XorbIndex.from_bytes(tail[len(tail) - num_bytes : -_COUNT_BYTES])
