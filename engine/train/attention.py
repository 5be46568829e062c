"""Attention over packed samples: each sees itself and nothing else, without a T x T mask.

Registered with transformers under a name of its own, so that no model's code is patched.
B is 1; T tokens of the row, H heads, K key-value heads, D head width, N samples of a bucket.
"""

import functools
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface

from engine.data.batch import Layout
from engine.errors import EngineError
from engine.status import Reason
from engine.train.banded import Scoring, attend_banded
from engine.train.sequence import gather_rows, scatter_rows
from engine.train.short import attend_short, suits
from engine.train.spans import attend_spans, pays, suits_spans

PACKED = "athanor_packed"
# Gathered positions for one of the row. Behind a long shared beginning there are many times more,
# in each layer: then they are gathered again for the backward pass. At SmolLM2's width, for
# 400 shared and 26 x 20 own tokens a layer keeps 36 instead of 97 MiB. Short conversations stay
# below it: they would pay 4 % of a step for next to nothing.
_MOST_COPIES_KEPT = 2


# Compiled layers step out of their graph here: its kernels are made for the shapes at hand, and
# tracing fails over an autograd function among a list of buckets (torch 2.13).
@torch.compiler.disable
def attend_packed(
    module: torch.nn.Module,
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Attend within each sample, causally; return 1 x T x H x D.

    Samples are gathered by bucket, attended in one call each, and put back in the row's order.
    Filling lies behind a sample's own tokens, where causality hides it. What is kept for the
    backward pass is bounded by the row, however often its beginning is shared. Without a layout
    the row is one sample. A window counts tokens of a sample, wherever these lie in the row.

    Raises:
        EngineError: bad_model, for attention that has sinks.
    """
    if s_aux is not None:
        raise EngineError(
            Reason.BAD_MODEL,
            "model: its attention has sinks, which this trainer does not do: pick another base "
            "model.",
        )
    scale = query_BHTD.shape[-1] ** -0.5 if scaling is None else scaling
    longest = max((b.shape[1] for b in layout.buckets), default=0) if layout else key_BKTD.shape[2]
    scoring = Scoring(scale, softcap, sliding_window).within(longest)
    if layout is None:
        return _attend_whole(query_BHTD, key_BKTD, value_BKTD, scoring, dropout), None
    query, key, value = _gather(layout, query_BHTD[0], key_BKTD[0], value_BKTD[0])
    if torch.is_autocast_enabled(query.device.type):  # angles in float32 make it of heads as well
        query, key = query.to(value.dtype), key.to(value.dtype)
    if suits_spans(query, key, value, dropout) and pays(scoring, longest):
        out_THD = attend_spans(query, key, value, layout.units_U5, scoring)
    else:
        out_THD = _attend_buckets(layout, query, key, value, dropout, scoring)
    if layout.group is not None:
        out_THD = scatter_rows(out_THD.transpose(0, 1), layout.group).transpose(0, 1)
    return out_THD[None], None


def _attend_buckets(
    layout: Layout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    scoring: Scoring,
) -> Tensor:
    attend = functools.partial(_attend_bucket, dropout=dropout, scoring=scoring)
    if layout.num_gathered > _MOST_COPIES_KEPT * query.shape[0]:
        attend = functools.partial(
            checkpoint, attend, use_reentrant=False, preserve_rng_state=dropout > 0
        )
    outs = [
        attend(query, key, value, bucket_NL, places)
        for bucket_NL, places in zip(layout.buckets, layout.kept, strict=True)
    ]
    return torch.cat(outs).index_select(0, layout.inverse_T)


def _attend_whole(
    query_BHTD: Tensor, key_BKTD: Tensor, value_BKTD: Tensor, scoring: Scoring, dropout: float
) -> Tensor:
    if not scoring.is_plain:
        return attend_banded(query_BHTD, key_BKTD, value_BKTD, scoring, dropout).transpose(1, 2)
    is_causal = bool(query_BHTD.shape[2] > 1)  # one token behind a cache sees all of it
    out_BHTD = F.scaled_dot_product_attention(
        query_BHTD, key_BKTD, value_BKTD, is_causal=is_causal, scale=scoring.scale, enable_gqa=True
    )
    return out_BHTD.transpose(1, 2)


def _gather(
    layout: Layout, query_HTD: Tensor, key_KTD: Tensor, value_KTD: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return T x heads x D of the whole row: all heads, or this process's share of them."""
    parts = [query_HTD, key_KTD, value_KTD]
    if layout.group is not None:
        size = dist.get_world_size(layout.group)
        repeats = query_HTD.shape[0] // key_KTD.shape[0] if key_KTD.shape[0] % size else 1
        parts[1:] = [x.repeat_interleave(repeats, 0) for x in parts[1:]]
        parts = [gather_rows(x, layout.group) for x in parts]
    query, key, value = (x.transpose(0, 1) for x in parts)
    return query, key, value


def _attend_bucket(
    query_THD: Tensor,
    key_TKD: Tensor,
    value_TKD: Tensor,
    bucket_NL: Tensor,
    places: Tensor,
    *,
    dropout: float,
    scoring: Scoring,
) -> Tensor:
    size, length = bucket_NL.shape
    scoring = scoring.within(length)
    flat = bucket_NL.reshape(-1)
    query_NHLD, key_NKLD, value_NKLD = (
        x.index_select(0, flat).view(size, length, x.shape[1], x.shape[2]).transpose(1, 2)
        for x in (query_THD, key_TKD, value_TKD)
    )
    if not scoring.is_plain:
        out_NHLD = attend_banded(query_NHLD, key_NKLD, value_NKLD, scoring, dropout)
    elif suits(query_NHLD, dropout):
        out_NHLD = attend_short(query_NHLD, key_NKLD, value_NKLD, scoring.scale)
    else:
        out_NHLD = F.scaled_dot_product_attention(
            query_NHLD,
            key_NKLD,
            value_NKLD,
            is_causal=True,
            dropout_p=dropout,
            scale=scoring.scale,
            enable_gqa=True,
        )
    return out_NHLD.transpose(1, 2).flatten(0, 1).index_select(0, places)


AttentionInterface.register(PACKED, attend_packed)
