"""Chunks, hashes, xorbs and shards, beside the protocol's reference client and a plain loop."""

import io
import random

import hf_xet
import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.hub.xet.chunking import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, iter_chunks
from studio.hub.xet.gear_table import GEAR
from studio.hub.xet.hashes import (
    from_text,
    hash_chunk,
    hash_file,
    hash_xorb,
    hide_hash,
    is_announced,
    to_text,
)
from studio.hub.xet.shards import BadShard, read_files
from studio.hub.xet.xorbs import BadXorb, XorbIndex, pack_chunk, read_xorb, unpack_chunks


def make_bytes(num_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(num_bytes)


def cut_slowly(data: bytes) -> list[bytes]:
    """The specification's own loop, a byte at a time."""
    chunks, rolling, begin = [], 0, 0
    for at, byte in enumerate(data):
        rolling = ((rolling << 1) + GEAR[byte]) & (2**64 - 1)
        length = at + 1 - begin
        if length >= MAX_CHUNK_BYTES or (length >= MIN_CHUNK_BYTES and not rolling >> 48):
            chunks.append(data[begin : at + 1])
            begin, rolling = at + 1, 0
    return chunks + ([data[begin:]] if begin < len(data) else [])


def make_xorb(data: bytes) -> tuple[list[bytes], bytes, bytes]:
    """Return chunks, serialized xorb and hash."""
    chunks = list(iter_chunks(io.BytesIO(data)))
    packed = b"".join(pack_chunk(chunk) for chunk in chunks)
    return chunks, packed, hash_xorb([(hash_chunk(chunk), len(chunk)) for chunk in chunks])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        make_bytes(MIN_CHUNK_BYTES - 1),
        make_bytes(MIN_CHUNK_BYTES),
        bytes(MAX_CHUNK_BYTES * 2 + 5),
        make_bytes(700_000) + bytes(300_000) + make_bytes(500_000, 2),
    ],
    ids=["empty", "byte", "under", "least", "zeros", "mixed"],
)
def test_a_stream_is_cut_where_the_specification_says(data):
    assert list(iter_chunks(io.BytesIO(data))) == cut_slowly(data)


@pytest.mark.parametrize("num_bytes", [0, 1, 8191, 8192, 1_000_003, 9_000_000])
def test_a_files_hash_is_the_reference_clients(tmp_path, num_bytes):
    path = tmp_path / "file"
    path.write_bytes(make_bytes(num_bytes))
    with path.open("rb") as file:
        chunks = [(hash_chunk(chunk), len(chunk)) for chunk in iter_chunks(file)]
    (expected,) = hf_xet.hash_files([str(path)])
    assert to_text(hash_file(chunks)) == expected.hash


def test_a_hash_reads_as_the_specifications_example():
    assert to_text(bytes(range(32))) == (
        "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    )
    assert from_text(to_text(bytes(range(32)))) == bytes(range(32))
    for text in ["", "0" * 63, "G" * 64, "A" * 64, "0" * 64 + "\n"]:
        with pytest.raises(ValueError, match="not a hash"):
            from_text(text)


def test_one_chunk_in_1024_is_announced():
    count = sum(is_announced(hash_chunk(str(number).encode())) for number in range(20_000))
    assert 5 <= count <= 45
    assert hide_hash(bytes(32), bytes(32)) != hide_hash(bytes(32), b"k" * 32)


def test_a_xorb_is_read_and_its_index_finds_every_chunk():
    chunks, packed, value = make_xorb(make_bytes(900_000) + b"ab" * 200_000)
    index = XorbIndex.from_bytes(read_xorb(packed, wanted=value).to_bytes())
    assert index.list_chunks() == [(hash_chunk(chunk), len(chunk)) for chunk in chunks]
    assert index.packed_bytes == len(packed) < index.unpacked_bytes
    for number in range(len(chunks)):
        begin, end = index.packed_range(number, number + 1)
        assert b"".join(unpack_chunks(packed[begin:end])) == chunks[number]
        assert index.find_chunk(index.unpacked_range(number, number + 1)[0]) == number


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 65_536, 65_537])
def test_grouped_bytes_come_back_in_their_order(length):
    chunk = make_bytes(length)
    groups = b"".join(chunk[group::4] for group in range(4))
    packed = lz4.frame.compress(groups)
    head = b"\0" + len(packed).to_bytes(3, "little") + b"\2" + length.to_bytes(3, "little")
    assert bytes(unpack_chunks(head + packed)[0]) == chunk


def test_a_footer_is_passed_over():
    _, packed, value = make_xorb(make_bytes(100_000))
    assert read_xorb(packed + b"XETBLOB" + bytes(300), wanted=value).packed_bytes == len(packed)


def chunk_of(packed: bytes, scheme: int, said: int, version: int = 0) -> bytes:
    lengths = len(packed).to_bytes(3, "little"), said.to_bytes(3, "little")
    return bytes([version]) + lengths[0] + bytes([scheme]) + lengths[1] + packed


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no chunk"),
        (b"\0\0", "header is cut off"),
        (chunk_of(b"abc", 0, 3)[:-1], "bytes are cut off"),
        (chunk_of(b"abc", 0, 4), "it has 3 bytes, not 4"),
        (chunk_of(b"abc", 0, 0), "0 bytes unpacked"),
        (chunk_of(b"abc", 0, MAX_CHUNK_BYTES + 1), "131073 bytes unpacked"),
        (chunk_of(b"abc", 7, 3), "packing 7 is not known"),
        (chunk_of(b"abc", 0, 3, version=1), "version 1 is not known"),
        (chunk_of(b"abc", 1, 3), "chunk 0"),
        (chunk_of(lz4.frame.compress(bytes(2**24)), 1, 1000), "it has 1001 bytes, not 1000"),
        (chunk_of(b"abc", 0, 3), "another hash"),
    ],
)
def test_what_is_no_xorb_is_refused_in_one_sentence(data, said):
    with pytest.raises(BadXorb, match=said):
        read_xorb(data, wanted=bytes(32))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(data):
    with pytest.raises(BadXorb):
        read_xorb(data, wanted=bytes(32))
    tag = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
    for shard in (data, tag + (2).to_bytes(8, "little") + bytes(8) + data):
        try:
            read_files(shard)
        except BadShard:
            continue


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 255), st.booleans()), max_size=5))
def test_any_stream_is_cut_as_the_loop_cuts_it(parts):
    data = b"".join(
        bytes([byte]) * (length // 4) if plain else make_bytes(length // 4, byte)
        for length, byte, plain in parts
    )
    assert list(iter_chunks(io.BytesIO(data))) == cut_slowly(data)
