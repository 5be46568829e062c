"""Packed 4-bit numbers: every format is undone, and lies as a plain loop over its words says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.serve.decoder.packing import (
    pack_awq,
    pack_compressed,
    pack_compressed_zeros,
    pack_gptq,
    pack_gptq_zeros,
    pack_pairs,
    unpack_awq,
    unpack_compressed,
    unpack_compressed_zeros,
    unpack_gptq,
    unpack_gptq_zeros,
    unpack_pairs,
)

EIGHTS = st.integers(1, 5).map(lambda n: 8 * n)


def draw_codes(rows, columns, seed, *, least=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(least, 16, (rows, columns), generator=generator, dtype=torch.uint8)


@given(rows=EIGHTS, columns=EIGHTS, seed=st.integers(0, 2**31))
def test_what_is_packed_comes_back(rows, columns, seed):
    codes = draw_codes(rows, columns, seed)
    assert torch.equal(unpack_pairs(pack_pairs(codes)), codes)
    assert torch.equal(unpack_awq(pack_awq(codes)), codes)
    assert torch.equal(unpack_gptq(pack_gptq(codes)), codes)
    zeros = draw_codes(rows, columns, seed, least=1)
    assert torch.equal(unpack_gptq_zeros(pack_gptq_zeros(zeros)), zeros)


@given(rows=st.integers(1, 30), columns=st.integers(1, 30), seed=st.integers(0, 2**31))
def test_compressed_tensors_fill_their_last_word(rows, columns, seed):
    codes = draw_codes(rows, columns, seed)
    packed, zeros = pack_compressed(codes), pack_compressed_zeros(codes)
    assert packed.shape == (rows, -(-columns // 8))
    assert zeros.shape == (-(-rows // 8), columns)
    assert torch.equal(unpack_compressed(packed, columns), codes)
    assert torch.equal(unpack_compressed_zeros(zeros, rows), codes)


def nibble(word, place):
    return int(np.uint32(np.int32(word))) >> 4 * place & 15


def test_words_lie_as_the_published_formats_say():
    codes = draw_codes(16, 24, 0, least=1)
    awq, gptq, zeros, compressed = (
        pack(codes) for pack in (pack_awq, pack_gptq, pack_gptq_zeros, pack_compressed)
    )
    for out in range(16):
        for column in range(24):
            value = int(codes[out, column])
            place = [0, 2, 4, 6, 1, 3, 5, 7].index(out % 8)
            assert nibble(awq[column, out // 8], place) == value
            assert nibble(gptq[column // 8, out], column % 8) == value
            assert nibble(zeros[column, out // 8], out % 8) == value - 1
            assert nibble(compressed[out, column // 8], column % 8) == value


def test_what_a_format_cannot_say_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        pack_awq(draw_codes(12, 8, 0))
    with pytest.raises(ValueError, match="multiple of 2"):
        pack_pairs(draw_codes(8, 3, 0))
    with pytest.raises(ValueError, match="no zero point 0"):
        pack_gptq_zeros(torch.zeros(8, 1, dtype=torch.uint8))
    with pytest.raises(ValueError, match="uint8 matrix"):
        pack_gptq(torch.zeros(8, 8))
