"""Shards: what a client says of the files it sent, and what the hub says of chunks it has.

Source: "MDB Shard File Format" of the Xet specification 1.1.0. Everything is little-endian and
lies in entries of 48 bytes; each of the two sections ends with 32 bytes of ones and 16 zeros.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from studio.hub.xet.hashes import HASH_BYTES, hide_hash, to_text
from studio.hub.xet.xorbs import XorbIndex

MAX_SHARD_BYTES = 64 * 2**20
# The specification's 32 bytes by which a shard is known.
_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_HEADER = struct.Struct("<32sQQ")
_FILE = struct.Struct("<32sII8x")
_TERM = struct.Struct("<32sIIII")
_PROOF = struct.Struct("<32s16x")
_XORB = struct.Struct("<32sIIII")
_CHUNK = struct.Struct("<32sII8x")
_FOOTER = struct.Struct("<QQQQQQQQQ32sQQ72xQ")
_VERSION, _FOOTER_VERSION = 2, 1
_END = b"\xff" * HASH_BYTES + bytes(16)
_WITH_PROOFS, _WITH_SHA256 = 1 << 31, 1 << 30


class BadShard(ValueError):
    """The bytes are no shard, or it says what is not so; the sentence says what."""


@dataclass(frozen=True)
class Term:
    """A run of chunks `[start, end)` of a xorb, a part of a file."""

    xorb: bytes
    start: int
    end: int
    unpacked_bytes: int
    proof: bytes
    """A hash over the chunks' hashes."""


@dataclass(frozen=True)
class FileInfo:
    """A file: its hash, the terms that make it, and the SHA-256 it is said to have."""

    hash: bytes
    sha256: str
    terms: list[Term] = field(default_factory=list)


@dataclass(frozen=True)
class KnownXorb:
    """A xorb that clients may refer to instead of sending its chunks again."""

    hash: bytes
    index: XorbIndex


def read_files(data: bytes) -> list[FileInfo]:
    """Return the files of a shard as clients send it. What it says of xorbs is not read.

    The hub knows from the xorbs themselves what they hold, so nothing there needs to be believed.

    Raises:
        BadShard: it is none, or a file lacks what an upload must say.
    """
    view = memoryview(data)
    tag, version, _ = _take(_HEADER, view, 0)
    if tag != _TAG:
        raise BadShard("it does not begin as a shard does")
    if version != _VERSION:
        raise BadShard(f"its version is {version} and only {_VERSION} is known")
    files = []
    at = _HEADER.size
    while bytes(view[at : at + HASH_BYTES]) != _END[:HASH_BYTES]:
        file, at = _read_file(view, at)
        files.append(file)
    return files


def write_known_xorbs(
    xorbs: Iterable[KnownXorb], *, key: bytes, made_at: int, expires_at: int
) -> bytes:
    """Return a shard that tells of xorbs, their chunks' hashes hidden by `key`; times in Unix s."""
    body = bytearray(_HEADER.pack(_TAG, _VERSION, _FOOTER.size))
    files_at = len(body)
    body += _END
    xorbs_at = len(body)
    for xorb in xorbs:
        index = xorb.index
        body += _XORB.pack(xorb.hash, 0, len(index), index.unpacked_bytes, index.packed_bytes)
        begin = 0
        for value, length in index.list_chunks():
            body += _CHUNK.pack(hide_hash(value, key), begin, length)
            begin += length
    body += _END
    footer_at = len(body)
    # Clients take the three places the specification reserves for tables of their own, all of which
    # are empty here, for where the section before them ends.
    tables = (footer_at, 0) * 3
    times = made_at, expires_at
    body += _FOOTER.pack(_FOOTER_VERSION, files_at, xorbs_at, *tables, key, *times, footer_at)
    return bytes(body)


def _read_file(view: memoryview, at: int) -> tuple[FileInfo, int]:
    value, flags, num_terms = _take(_FILE, view, at)
    at += _FILE.size
    if not flags & _WITH_PROOFS or not flags & _WITH_SHA256:
        raise BadShard("a file of it lacks its verification entries or its SHA-256")
    entries = [_take(_TERM, view, at + number * _TERM.size) for number in range(num_terms)]
    at += num_terms * _TERM.size
    proofs = [_take(_PROOF, view, at + number * _PROOF.size)[0] for number in range(num_terms)]
    at += num_terms * _PROOF.size
    (sha256,) = _take(_PROOF, view, at)
    terms = [
        Term(xorb, start, end, length, proof)
        for (xorb, _, length, start, end), proof in zip(entries, proofs, strict=True)
    ]
    return FileInfo(value, to_text(sha256), terms), at + _PROOF.size


def _take(entry: struct.Struct, view: memoryview, at: int) -> tuple[Any, ...]:
    if at + entry.size > len(view):
        raise BadShard("it is cut off")
    return entry.unpack_from(view, at)
