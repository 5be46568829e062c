"""How 4-bit numbers lie in published checkpoints and in ours: packing and unpacking, no arithmetic.

A code is a number from 0 to 15, one a byte (uint8), O outputs by I inputs; zero points are codes,
O x G groups. Words are int32 of eight codes, the first in the lowest bits, on any little-endian
machine. Nothing here multiplies by a scale.
"""

import torch
from torch import Tensor

WORD = 8
"""Codes of one int32."""
# AutoAWQ's "gemm" version: which of eight neighbouring outputs each place of a word holds.
_AWQ_PLACES = (0, 2, 4, 6, 1, 3, 5, 7)
_AWQ_OUTPUTS = (0, 4, 1, 5, 2, 6, 3, 7)  # the place that each output is in


def pack_pairs(codes_OI: Tensor) -> Tensor:
    """Return O x I/2 uint8, the even column in the low half of each byte: `LinearWeights.weight`.

    Raises:
        ValueError: when the inputs are odd in number.
    """
    _check(codes_OI, 1, 2)
    return codes_OI[:, ::2] | codes_OI[:, 1::2] << 4


def unpack_pairs(pairs_OI2: Tensor) -> Tensor:
    """Undo `pack_pairs`: return O x I codes."""
    return torch.stack([pairs_OI2 & 15, pairs_OI2 >> 4], dim=-1).flatten(-2)


def pack_awq(codes_OI: Tensor) -> Tensor:
    """Return AutoAWQ's `qweight`, I x O/8 int32; of zero points its `qzeros`, G x O/8.

    Raises:
        ValueError: when the outputs are no multiple of eight.
    """
    _check(codes_OI, 0, WORD)
    places = torch.tensor(_AWQ_PLACES, device=codes_OI.device)
    return _to_words(codes_OI.T.unflatten(1, (-1, WORD))[..., places])


def unpack_awq(words_IO8: Tensor) -> Tensor:
    """Undo `pack_awq`: return O x I codes, or O x G zero points."""
    outputs = torch.tensor(_AWQ_OUTPUTS, device=words_IO8.device)
    return _to_codes(words_IO8)[..., outputs].flatten(1).T.contiguous()


def pack_gptq(codes_OI: Tensor) -> Tensor:
    """Return AutoGPTQ's `qweight`, I/8 x O int32.

    Raises:
        ValueError: when the inputs are no multiple of eight.
    """
    _check(codes_OI, 1, WORD)
    return _to_words(codes_OI.unflatten(1, (-1, WORD))).T.contiguous()


def unpack_gptq(words_I8O: Tensor) -> Tensor:
    """Undo `pack_gptq`: return O x I codes."""
    return _to_codes(words_I8O.T.contiguous()).flatten(1)


def pack_gptq_zeros(zeros_OG: Tensor) -> Tensor:
    """Return AutoGPTQ's `qzeros`, G x O/8 int32, as its first format has them: one less each.

    Raises:
        ValueError: when the outputs are no multiple of eight, or a zero point is 0, which that
            format cannot say.
    """
    _check(zeros_OG, 0, WORD)
    if bool((zeros_OG == 0).any()):
        raise ValueError("the first GPTQ format has no zero point 0: keep them from 1 to 15")
    return _to_words((zeros_OG - 1).T.unflatten(1, (-1, WORD)))


def unpack_gptq_zeros(words_GO8: Tensor, *, is_first_format: bool = True) -> Tensor:
    """Undo `pack_gptq_zeros`: return O x G zero points. The second format (v2) takes nothing off.

    A stored 15 of the first format would be 16, which its own readers take for 0.
    """
    codes = _to_codes(words_GO8).flatten(1).T.contiguous()
    return (codes + 1) & 15 if is_first_format else codes


def pack_compressed(codes_OI: Tensor) -> Tensor:
    """Return `weight_packed` of compressed-tensors' pack-quantized: O x ceil(I/8) int32."""
    return _to_words(_fill_up(codes_OI).unflatten(1, (-1, WORD)))


def unpack_compressed(words_OI8: Tensor, num_inputs: int) -> Tensor:
    """Undo `pack_compressed`: return O x I codes. The signed numbers there are codes less 8."""
    return _to_codes(words_OI8).flatten(1)[:, :num_inputs].contiguous()


def pack_compressed_zeros(zeros_OG: Tensor) -> Tensor:
    """Return `weight_zero_point` of pack-quantized: ceil(O/8) x G int32."""
    return pack_compressed(zeros_OG.T).T.contiguous()


def unpack_compressed_zeros(words_O8G: Tensor, num_outputs: int) -> Tensor:
    """Undo `pack_compressed_zeros`: return O x G zero points."""
    return unpack_compressed(words_O8G.T.contiguous(), num_outputs).T.contiguous()


def _to_words(codes_8: Tensor) -> Tensor:
    codes = codes_8.contiguous()
    return (codes[..., ::2] | codes[..., 1::2] << 4).contiguous().view(torch.int32)[..., 0]


def _to_codes(words: Tensor) -> Tensor:
    halves = words.contiguous()[..., None].view(torch.uint8)
    return torch.stack([halves & 15, halves >> 4], dim=-1).flatten(-2)


def _fill_up(codes_OI: Tensor) -> Tensor:
    return torch.nn.functional.pad(codes_OI, (0, -codes_OI.shape[1] % WORD))


def _check(codes: Tensor, dim: int, unit: int) -> None:
    if codes.dtype != torch.uint8 or codes.ndim != 2:
        raise ValueError(f"codes are a uint8 matrix, not {codes.dtype} of {codes.ndim} dimensions")
    if codes.shape[dim] % unit:
        raise ValueError(f"{codes.shape[dim]} numbers cannot be packed: no multiple of {unit}")
