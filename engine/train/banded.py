"""Causal attention whose scores are capped, or which looks back over a window only, in chunks.

No L x L scores or masks exist at once: a chunk of queries sees the keys that its window reaches.
N samples of L tokens behind cached ones, S keys, H heads, K key-value heads, D head width, C
queries of a chunk.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Queries of a chunk. Under a window it has half of that: a third of what is computed is masked.
_MOST_QUERIES, _FEWEST_QUERIES = 1024, 128
_MOST_SCORES = 2**24  # of a chunk, where they are written out: 64 MiB in float32


@dataclass(frozen=True)
class Scoring:
    """What a layer makes of the products of its queries and keys."""

    scale: float
    cap: float | None = None
    """Scores are cap * tanh(score / cap) of what they were (Gemma 2, arXiv 2408.00118)."""
    window: int | None = None
    """Tokens that one sees, itself among them (Mistral 7B, arXiv 2310.06825); None sees all."""

    def within(self, length: int) -> "Scoring":
        """Return the same without a window that samples of this length never meet."""
        is_met = self.window is not None and self.window < length
        return self if is_met else Scoring(self.scale, self.cap)

    @property
    def is_plain(self) -> bool:
        """Say whether there is neither cap nor window."""
        return self.cap is None and self.window is None


def attend_banded(
    query_NHLD: Tensor, key_NKSD: Tensor, value_NKSD: Tensor, scoring: Scoring, dropout: float
) -> Tensor:
    """Attend causally within each sample; return N x H x L x D. The queries are the last L of S."""
    if scoring.cap is None and query_NHLD.device.type != "cpu":  # the kernel that takes masks there
        served = query_NHLD.shape[1] // key_NKSD.shape[1]  # has no heads that share keys
        key_NKSD, value_NKSD = (x.repeat_interleave(served, 1) for x in (key_NKSD, value_NKSD))
    attend: Callable[..., Tensor] = _attend_masked
    if scoring.cap is not None:
        attend = functools.partial(
            checkpoint, _attend_capped, use_reentrant=False, preserve_rng_state=dropout > 0
        )
    length, num_keys = query_NHLD.shape[2], key_NKSD.shape[2]
    size = _pick_size(query_NHLD, num_keys, scoring)
    outs = []
    for start in range(0, length, size):
        end = min(length, start + size)
        ahead = num_keys - length  # of the first query
        first = 0 if scoring.window is None else max(0, ahead + start + 1 - scoring.window)
        seen = slice(first, ahead + end)
        here = torch.arange(ahead + start, ahead + end, device=query_NHLD.device)[:, None]
        there = torch.arange(first, ahead + end, device=query_NHLD.device)
        is_seen_CS = there <= here
        if scoring.window is not None:
            is_seen_CS &= there > here - scoring.window
        keys, values = key_NKSD[:, :, seen], value_NKSD[:, :, seen]
        outs.append(attend(query_NHLD[:, :, start:end], keys, values, is_seen_CS, scoring, dropout))
    return torch.cat(outs, 2)


def _pick_size(query_NHLD: Tensor, num_keys: int, scoring: Scoring) -> int:
    """Return the queries of a chunk."""
    most = _MOST_QUERIES
    if scoring.window is not None:
        most = min(most, max(_FEWEST_QUERIES, scoring.window // 2))
        num_keys = min(num_keys, scoring.window + most)
    if scoring.cap is not None:
        num_heads = query_NHLD.shape[0] * query_NHLD.shape[1]
        most = min(most, max(_FEWEST_QUERIES, _MOST_SCORES // (num_heads * num_keys)))
    return most


def _attend_masked(
    query_NHCD: Tensor,
    key_NKSD: Tensor,
    value_NKSD: Tensor,
    is_seen_CS: Tensor,
    scoring: Scoring,
    dropout: float,
) -> Tensor:
    return F.scaled_dot_product_attention(
        query_NHCD,
        key_NKSD,
        value_NKSD,
        attn_mask=is_seen_CS,
        dropout_p=dropout,
        scale=scoring.scale,
        enable_gqa=query_NHCD.shape[1] != key_NKSD.shape[1],
    )


def _attend_capped(
    query_NHCD: Tensor,
    key_NKSD: Tensor,
    value_NKSD: Tensor,
    is_seen_CS: Tensor,
    scoring: Scoring,
    dropout: float,
) -> Tensor:
    """Attend with the chunk's scores written out, the softmax in float32."""
    assert scoring.cap is not None
    grouped = query_NHCD.unflatten(1, (key_NKSD.shape[1], -1))  # N x K x heads of one x C x D
    scores = grouped @ key_NKSD.transpose(2, 3)[:, :, None]
    scores = scoring.cap * torch.tanh(scores.float() * (scoring.scale / scoring.cap))
    weights = scores.masked_fill(~is_seen_CS, float("-inf")).softmax(-1).to(value_NKSD.dtype)
    weights = F.dropout(weights, dropout)
    return (weights @ value_NKSD[:, :, None]).flatten(1, 2)
