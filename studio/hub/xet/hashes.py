"""Hashes of the Xet protocol: of chunks, xorbs, files and terms.

Source: "Hashing" of the Xet specification 1.1.0. Hashes are 32 bytes; a list of chunks is a list of
(hash, length in bytes).
"""

import re
import struct
from collections.abc import Iterable, Sequence

from blake3 import blake3

HASH_BYTES = 32
Chunk = tuple[bytes, int]
"""A chunk's hash and its length in bytes, unpacked."""

# The keys are the specification's.
_DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_TERM_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_NO_KEY = bytes(HASH_BYTES)
_BRANCHES = 4  # mean number of children of a node
_HEX = re.compile(r"\A[0-9a-f]{64}\Z")


def to_text(value: bytes) -> str:
    """Return a hash as the protocol writes it: each 8 bytes as a little-endian number in hex."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", value))


def from_text(text: str) -> bytes:
    """Return the hash that a text of the protocol means.

    Raises:
        ValueError: it is not 64 lower-case hex digits.
    """
    if not _HEX.match(text):
        raise ValueError(f"{text[:80]!r} is not a hash of 64 lower-case hex digits")
    return struct.pack("<4Q", *(int(text[at : at + 16], 16) for at in range(0, 64, 16)))


def hash_chunk(data: bytes | memoryview) -> bytes:
    """Return the hash of a chunk's bytes."""
    return blake3(data, key=_DATA_KEY).digest()


def hash_xorb(chunks: Sequence[Chunk]) -> bytes:
    """Return the hash of a xorb: the root of a tree over its chunks."""
    return _hash_tree(chunks)


def hash_file(chunks: Sequence[Chunk]) -> bytes:
    """Return the hash of a file: the root over its chunks, hashed once more; of no bytes, zeros."""
    return blake3(_hash_tree(chunks), key=_NO_KEY).digest() if chunks else _NO_KEY


def hash_term(chunk_hashes: Iterable[bytes]) -> bytes:
    """Return what proves that somebody has a run of chunks: a hash over the chunks' hashes."""
    return blake3(b"".join(chunk_hashes), key=_TERM_KEY).digest()


def hide_hash(value: bytes, key: bytes) -> bytes:
    """Return a chunk's hash so that only who has the chunk finds it in a deduplication answer."""
    return blake3(value, key=key).digest()


def is_announced(value: bytes) -> bool:
    """Say whether clients ask the whole hub for this chunk: one in 1024, beside a file's first."""
    return int.from_bytes(value[24:], "little") % 1024 == 0


def _hash_tree(chunks: Sequence[Chunk]) -> bytes:
    nodes = list(chunks)
    if not nodes:
        return _NO_KEY
    while len(nodes) > 1:
        merged = []
        at = 0
        while at < len(nodes):
            end = at + _count_children(nodes, at)
            merged.append(_merge(nodes[at:end]))
            at = end
        nodes = merged
    return nodes[0][0]


def _count_children(nodes: Sequence[Chunk], at: int) -> int:
    """Return how many nodes from `at` on have one parent: 3 to 9, cut where a hash divides by 4."""
    left = len(nodes) - at
    if left <= 2:
        return left
    most = min(2 * _BRANCHES + 1, left)
    for index in range(2, most):
        if nodes[at + index][0][24] % _BRANCHES == 0:  # the last number's lowest byte
            return index + 1
    return most


def _merge(nodes: Sequence[Chunk]) -> Chunk:
    lines = "".join(f"{to_text(value)} : {length}\n" for value, length in nodes)
    total = sum(length for _, length in nodes)
    return blake3(lines.encode(), key=_NODE_KEY).digest(), total
