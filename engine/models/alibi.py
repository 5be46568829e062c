"""ALiBi (arXiv 2108.12409) carried by queries and keys: no bias, so any attention kernel does it.

A score gets `slope * (j - i)`, j the key's position and i the query's. That is a product of a few
numbers of the query and a few of the key: laid behind each head they make the scores right by
themselves, packed, cached, sharded and in parts alike. H heads, T positions, D head width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EXTRA = 8  # numbers behind each head; keeps its width a multiple of 8, which kernels ask for
_BYTE = 256  # bfloat16 holds whole numbers up to here, so a position goes in two


def make_slopes(num_heads: int) -> Tensor:
    """Return a slope per head: 2^-(8/n), 2^-(16/n), ... for n heads, a power of two.

    For another number: those of the next lower power, then every other one of the next higher, as
    the paper's authors do it.
    """
    power = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * (index + 1) / power) for index in range(power)]
    finer = [2 ** (-4 * (index + 1) / power) for index in range(0, 2 * power, 2)]
    return torch.tensor([*slopes, *finer[: num_heads - power]])


def add_positions(
    heads: tuple[Tensor, Tensor, Tensor], slopes_H: Tensor, positions_BT: Tensor, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay positions behind queries and keys, and zeros behind values; each B x H x T x (D + 8).

    Attention that multiplies scores by `scaling` then adds `slope * (j - i)`. Every number laid
    down is one that bfloat16 holds exactly, for up to 65536 positions; the slope is in two, so that
    it is exact to 2^-17. Kernels add the products in float32.
    """
    query, key, value = heads
    wide = slopes_H.double() / scaling
    coarse = wide.bfloat16().double()
    slope_H2 = torch.stack([coarse, (wide - coarse).bfloat16().double()], dim=-1)
    slope_H4 = torch.cat([_BYTE * slope_H2, slope_H2], dim=-1).to(query)
    high, low = (positions_BT // _BYTE).to(query), (positions_BT % _BYTE).to(query)
    place_BT4 = torch.stack([high, high, low, low], dim=-1)
    size, length = positions_BT.shape
    slope = slope_H4[None, :, None].expand(query.shape[0], -1, length, -1)
    place = place_BT4[:, None].expand(query.shape[0], query.shape[1], -1, -1)
    return (
        torch.cat([query, slope, -place], dim=-1),
        torch.cat([key, place, slope], dim=-1),
        F.pad(value, (0, EXTRA)),
    )
