"""Attention of one new token per request over the paged pool, split along the context.

Flash-decoding (Dao et al., 2023): each program goes over some of a request's blocks for one
key-value head and all its queries, and a second kernel joins the parts by their log-sums. Keys and
values are floats, int8 or int4 and are widened in registers.
S requests, H heads, K key-value heads, Q query heads of each, D head width, P parts.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.serve.decoder.attention import Attending
from engine.serve.decoder.pool import Half, LayerPool

_DENSE, _INT8, _INT4 = 0, 1, 2
_KINDS = {"dense": _DENSE, "int8": _INT8, "int4": _INT4}
_TOKENS = 64
"""Positions of one step of the inner loop; a few blocks of the pool."""
_LEAST_TOKENS_OF_PART = 256


def attend_decode(
    query_SHD: Tensor,
    pool: LayerPool,
    tables_SB: Tensor,
    lengths_S: Tensor,
    how: Attending,
    *,
    num_parts: int | None = None,
) -> Tensor:
    """Return S x H x D. A length of 0 is a row of nobody and gives zeros.

    `tables_SB` int32, every entry that a length reaches is a block; `lengths_S` int32. The number
    of parts follows from the widest table and not from lengths, so that a graph can hold the call.
    """
    size, heads, width = query_SHD.shape
    block_size = pool.keys.values.shape[1]
    longest = tables_SB.shape[1] * block_size
    parts = num_parts or _count_parts(longest, size * how.num_kv_heads, query_SHD.device)
    per_part = -(-longest // parts // _TOKENS) * _TOKENS
    shared = heads // how.num_kv_heads
    partial = torch.empty(size, heads, parts, width, device=query_SHD.device)
    sums = torch.empty(size, heads, parts, device=query_SHD.device)
    out = torch.empty_like(query_SHD)
    tensors = [*_list_tensors(pool.keys), *_list_tensors(pool.values)]
    wide = max(16, triton.next_power_of_2(width))  # the least that a product takes
    shared_padded = max(16, triton.next_power_of_2(shared))
    _attend_part[(size, how.num_kv_heads, parts)](
        query_SHD.contiguous(),
        *tensors,
        tables_SB,
        lengths_S,
        partial,
        sums,
        tables_SB.stride(0),
        how.scale,
        how.window or 0,
        per_part,
        (heads, shared, shared_padded, how.num_kv_heads, width, wide, block_size, parts, _TOKENS),
        _KINDS[pool.kind],
    )
    filled = triton.next_power_of_2(parts)
    _join_parts[(size, heads)](partial, sums, out, heads, width, wide, parts, filled)
    return out


def _count_parts(longest: int, programs: int, device: torch.device) -> int:
    """Return enough parts that every multiprocessor has work, none of them tiny."""
    most = max(1, longest // _LEAST_TOKENS_OF_PART)
    if device.type != "cuda":
        return min(most, 4)
    wanted = 2 * torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(most, -(-wanted // programs)))


def _list_tensors(half: Half) -> tuple[Tensor, Tensor, Tensor]:
    values = half.values
    return values, _or(half.scales, values), _or(half.lows, values)


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    return other if tensor is None else tensor


@triton.jit
def _load_half(
    values,
    scales,
    lows,
    at,
    is_there,
    columns,
    width: tl.constexpr,
    kind: tl.constexpr,
    dtype: tl.constexpr,
):
    """Return tokens x columns in `dtype`, from the rows `at`; where nothing is, zeros."""
    has = is_there[:, None] & (columns < width)[None, :]
    if kind == 2:
        byte = at[:, None] * (width // 2) + (columns // 2)[None, :]
        packed = tl.load(values + byte, mask=has, other=0)
        codes = (packed >> ((columns % 2) * 4)[None, :].to(tl.uint8)) & 15
        scale = tl.load(scales + at, mask=is_there, other=0.0)
        low = tl.load(lows + at, mask=is_there, other=0.0)
        found = codes.to(tl.float32) * scale[:, None] + low[:, None]
        return tl.where(has, found, 0.0).to(dtype)
    found = tl.load(values + at[:, None] * width + columns[None, :], mask=has, other=0.0)
    if kind == 1:
        scale = tl.load(scales + at, mask=is_there, other=0.0)
        return (found.to(tl.float32) * scale[:, None]).to(dtype)
    return found.to(dtype)


@triton.jit
def _fold(best, total, found, scores, values):
    """Take more positions into a softmax that is not finished (arXiv 2205.14135, section 3.1)."""
    higher = tl.maximum(best, tl.max(scores, 1))
    higher = tl.where(higher == float("-inf"), 0.0, higher)
    weights = tl.exp(scores - higher[:, None])
    shrink = tl.exp(best - higher)
    made = tl.dot(weights.to(values.dtype), values, input_precision="ieee")
    return higher, total * shrink + tl.sum(weights, 1), found * shrink[:, None] + made


@triton.jit
def _attend_part(
    query,
    keys,
    key_scales,
    key_lows,
    values,
    value_scales,
    value_lows,
    tables,
    lengths,
    partial,
    sums,
    table_stride,
    scale,
    window,
    per_part,
    shape: tl.constexpr,  # H, Q, Q filled up, K, D, D filled up, block size, parts, tokens
    kind: tl.constexpr,
):
    request, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + request)
    first = tl.where(window > 0, tl.maximum(length - window, 0), 0)
    end = tl.minimum((part + 1) * per_part, length)
    own, columns = tl.arange(0, shape[2]), tl.arange(0, shape[5])
    rows = request * shape[0] + head * shape[1] + own
    has_query = (own < shape[1])[:, None] & (columns < shape[4])[None, :]
    wanted = rows[:, None] * shape[4] + columns[None, :]
    wanted = tl.load(query + wanted, mask=has_query, other=0.0)
    best = tl.full([shape[2]], float("-inf"), tl.float32)
    total = tl.full([shape[2]], 0.0, tl.float32)
    found = tl.full([shape[2], shape[5]], 0.0, tl.float32)
    start = tl.maximum(part * per_part, first // shape[8] * shape[8])
    for base in range(start, end, shape[8]):
        places = base + tl.arange(0, shape[8])
        there = (places >= first) & (places < end)
        block = tables + request * table_stride + places // shape[6]
        block = tl.load(block, mask=there, other=0).to(tl.int64)
        at = (block * shape[6] + places % shape[6]) * shape[3] + head
        dtype: tl.constexpr = wanted.dtype
        key = _load_half(keys, key_scales, key_lows, at, there, columns, shape[4], kind, dtype)
        scores = tl.dot(wanted, tl.trans(key), input_precision="ieee") * scale
        scores = tl.where(there[None, :], scores, float("-inf"))
        value = _load_half(
            values, value_scales, value_lows, at, there, columns, shape[4], kind, dtype
        )
        best, total, found = _fold(best, total, found, scores, value)
    _store_part(partial, sums, rows * shape[7] + part, best, total, found, has_query, shape[4])


@triton.jit
def _store_part(partial, sums, places, best, total, found, has_query, width: tl.constexpr):
    columns = tl.arange(0, found.shape[1])
    divisor = tl.where(total > 0, total, 1.0)
    out = partial + places[:, None] * width + columns[None, :]
    tl.store(out, found / divisor[:, None], mask=has_query)
    log_sum = tl.where(total > 0, best + tl.log(divisor), float("-inf"))
    tl.store(sums + places, log_sum, mask=tl.max(has_query.to(tl.int32), 1) > 0)


@triton.jit
def _join_parts(
    partial,
    sums,
    out,
    heads: tl.constexpr,
    width: tl.constexpr,
    width_padded: tl.constexpr,
    parts: tl.constexpr,
    parts_padded: tl.constexpr,
):
    row = tl.program_id(0) * heads + tl.program_id(1)
    part, columns = tl.arange(0, parts_padded), tl.arange(0, width_padded)
    log_sums = tl.load(sums + row * parts + part, mask=part < parts, other=float("-inf"))
    best = tl.max(log_sums, 0)
    weights = tl.exp(log_sums - tl.where(best == float("-inf"), 0.0, best))
    total = tl.sum(weights, 0)
    has = (part < parts)[:, None] & (columns < width)[None, :]
    each = tl.load(
        partial + (row * parts + part)[:, None] * width + columns[None, :], mask=has, other=0.0
    )
    joined = tl.sum(each * weights[:, None], 0) / tl.where(total > 0, total, 1.0)
    tl.store(out + row * width + columns, joined.to(out.dtype.element_ty), mask=columns < width)
