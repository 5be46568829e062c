"""Xorbs: chunks in a row, each with a header of 8 bytes and packed in its own way.

Source: "Xorb Formation & Serialization Format" of the Xet specification 1.1.0. Some clients append
a footer, which says nothing that the chunks do not: it is cut off and never read.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator

import lz4.frame
import numpy as np

from studio.hub.xet.chunking import MAX_CHUNK_BYTES
from studio.hub.xet.hashes import HASH_BYTES, Chunk, hash_chunk, hash_xorb

MAX_XORB_BYTES = 65 * 2**20
"""Clients fill a xorb with 64 MiB of chunks; headers come on top, and a footer of some."""
MAX_CHUNKS = 8192
HEADER_BYTES = 8
_PLAIN, _LZ4, _GROUPED_LZ4 = 0, 1, 2
_GROUPS = 4
_FOOTER = b"XETBLOB"
_ENTRY = struct.Struct(f"<{HASH_BYTES}sII")


class BadXorb(ValueError):
    """The bytes are no xorb; the sentence says where and why."""


class XorbIndex:
    """Where each chunk of a xorb lies; 40 bytes a chunk when kept.

    Chunks are counted from 0, and a run of them is `[start, end)`.
    """

    def __init__(self) -> None:
        """Begin with no chunk."""
        self.hashes: list[bytes] = []
        self._packed_ends: list[int] = [0]
        self._unpacked_ends: list[int] = [0]

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "XorbIndex":
        """Read what `to_bytes` wrote."""
        index = cls()
        for value, packed_end, unpacked_end in _ENTRY.iter_unpack(data):
            index.hashes.append(value)
            index._packed_ends.append(packed_end)
            index._unpacked_ends.append(unpacked_end)
        return index

    def to_bytes(self) -> bytes:
        """Return the index as it is kept."""
        rows = zip(self.hashes, self._packed_ends[1:], self._unpacked_ends[1:], strict=True)
        return b"".join(_ENTRY.pack(*row) for row in rows)

    def add(self, value: bytes, *, packed_bytes: int, unpacked_bytes: int) -> None:
        """Append a chunk; its packed bytes include the header."""
        self.hashes.append(value)
        self._packed_ends.append(self.packed_bytes + packed_bytes)
        self._unpacked_ends.append(self.unpacked_bytes + unpacked_bytes)

    @property
    def packed_bytes(self) -> int:
        """Return the length of the xorb as it travels."""
        return self._packed_ends[-1]

    @property
    def unpacked_bytes(self) -> int:
        """Return the length of all its chunks."""
        return self._unpacked_ends[-1]

    def list_chunks(self, start: int = 0, end: int | None = None) -> list[Chunk]:
        """Return the hash and length of each chunk of a run."""
        ends = self._unpacked_ends
        last = len(self) if end is None else end
        return [(self.hashes[i], ends[i + 1] - ends[i]) for i in range(start, last)]

    def packed_range(self, start: int, end: int) -> tuple[int, int]:
        """Return where a run's packed bytes begin and end in the xorb."""
        return self._packed_ends[start], self._packed_ends[end]

    def unpacked_range(self, start: int, end: int) -> tuple[int, int]:
        """Return where a run's bytes begin and end in the xorb, unpacked."""
        return self._unpacked_ends[start], self._unpacked_ends[end]

    def find_chunk(self, offset: int) -> int:
        """Return the chunk that holds an unpacked byte."""
        return bisect_right(self._unpacked_ends, offset) - 1


def read_xorb(data: bytes | memoryview, *, wanted: bytes) -> XorbIndex:
    """Unpack every chunk, and return where they lie once the hash of all is the wanted one.

    Raises:
        BadXorb: it is no xorb, or another than was said.
    """
    view = memoryview(data)
    if len(view) > MAX_XORB_BYTES:
        raise BadXorb(f"it has {len(view)} bytes and {MAX_XORB_BYTES} are the most")
    index = XorbIndex()
    for number, chunk, begin, end in _iter_packed(view):
        if number >= MAX_CHUNKS:
            raise BadXorb(f"it has more than {MAX_CHUNKS} chunks")
        index.add(hash_chunk(chunk), packed_bytes=end - begin, unpacked_bytes=len(chunk))
    if not len(index):
        raise BadXorb("it holds no chunk")
    if hash_xorb(index.list_chunks()) != wanted:
        raise BadXorb("its chunks have another hash than the address says")
    return index


def unpack_chunks(data: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the chunks of a stretch of a xorb that begins and ends with whole ones.

    Raises:
        BadXorb: it does not.
    """
    return [chunk for _, chunk, _, _ in _iter_packed(memoryview(data))]


def pack_chunk(chunk: bytes) -> bytes:
    """Return a chunk with its header, packed where that saves something."""
    packed, scheme = lz4.frame.compress(chunk, store_size=False), _LZ4
    if len(packed) >= len(chunk):
        packed, scheme = chunk, _PLAIN
    lengths = len(packed).to_bytes(3, "little"), len(chunk).to_bytes(3, "little")
    return b"".join((b"\0", lengths[0], bytes([scheme]), lengths[1], packed))


def _iter_packed(view: memoryview) -> Iterator[tuple[int, bytes | memoryview, int, int]]:
    """Yield each chunk's number and bytes, and where it begins and ends, packed."""
    at = number = 0
    while at < len(view):
        if bytes(view[at : at + len(_FOOTER)]) == _FOOTER:
            return
        if len(view) - at < HEADER_BYTES:
            raise BadXorb(f"chunk {number}: its header is cut off")
        version = view[at]
        packed_bytes = int.from_bytes(view[at + 1 : at + 4], "little")
        unpacked_bytes = int.from_bytes(view[at + 5 : at + 8], "little")
        if version:
            raise BadXorb(f"chunk {number}: version {version} is not known, only 0")
        begin, end = at + HEADER_BYTES, at + HEADER_BYTES + packed_bytes
        if end > len(view):
            raise BadXorb(f"chunk {number}: its bytes are cut off")
        if not 0 < unpacked_bytes <= MAX_CHUNK_BYTES:
            raise BadXorb(f"chunk {number}: it has {unpacked_bytes} bytes unpacked")
        try:
            chunk = _unpack(view[begin:end], view[at + 4], unpacked_bytes)
        except (RuntimeError, ValueError, EOFError) as error:
            raise BadXorb(f"chunk {number}: {error}") from error
        if len(chunk) != unpacked_bytes:
            raise BadXorb(f"chunk {number}: it has {len(chunk)} bytes, not {unpacked_bytes}")
        yield number, chunk, at, end
        at, number = end, number + 1


def _unpack(packed: memoryview, scheme: int, unpacked_bytes: int) -> bytes | memoryview:
    if scheme == _PLAIN:
        return packed
    if scheme not in {_LZ4, _GROUPED_LZ4}:
        raise ValueError(f"packing {scheme} is not known, only 0 to 2")
    unpacker = lz4.frame.LZ4FrameDecompressor()
    # One byte more than was said, and no more, shows a frame that holds too much.
    data = unpacker.decompress(packed, max_length=unpacked_bytes + 1)
    return _ungroup(data) if scheme == _GROUPED_LZ4 else data


def _ungroup(data: bytes) -> bytes:
    """Undo the grouping of every fourth byte; the first groups have one byte more."""
    grouped = np.frombuffer(data, dtype=np.uint8)
    plain = np.empty_like(grouped)
    begin = 0
    for group in range(_GROUPS):
        length = len(range(group, len(grouped), _GROUPS))
        plain[group::_GROUPS] = grouped[begin : begin + length]
        begin += length
    return plain.tobytes()
