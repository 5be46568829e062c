"""Attention over packed samples: each sees itself and nothing else, without a T x T mask.

Registered with transformers under a name of its own, so that no model's code is patched.
B is 1; T tokens of the row, H heads, K key-value heads, D head width, N samples of a bucket.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

from engine.data.batch import Layout

PACKED = "athanor_packed"


def attend_packed(
    module: torch.nn.Module,
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Attend within each sample, causally; return 1 x T x H x D.

    Samples are gathered by bucket, attended in one call each, and put back in the row's order.
    Filling lies behind a sample's own tokens, where causality hides it. Without a layout the row is
    one sample.
    """
    if layout is None:
        is_causal = query_BHTD.shape[2] > 1  # one token behind a cache sees all of it
        out = F.scaled_dot_product_attention(
            query_BHTD, key_BKTD, value_BKTD, is_causal=is_causal, scale=scaling, enable_gqa=True
        )
        return out.transpose(1, 2), None
    query, key, value = (x[0].transpose(0, 1) for x in (query_BHTD, key_BKTD, value_BKTD))
    outs = []
    for bucket_NL in layout.buckets:
        size, length = bucket_NL.shape
        flat = bucket_NL.reshape(-1)
        query_NHLD, key_NKLD, value_NKLD = (
            x.index_select(0, flat).view(size, length, x.shape[1], x.shape[2]).transpose(1, 2)
            for x in (query, key, value)
        )
        out_NHLD = F.scaled_dot_product_attention(
            query_NHLD,
            key_NKLD,
            value_NKLD,
            is_causal=True,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=True,
        )
        outs.append(out_NHLD.transpose(1, 2).reshape(size * length, query.shape[1], -1))
    return torch.cat(outs).index_select(0, layout.inverse_T)[None], None


AttentionInterface.register(PACKED, attend_packed)
