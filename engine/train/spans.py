"""Attention of a packed row in bfloat16 on a processor: each sample where it lies in the row.

Nothing is gathered and no filling is attended; of what a sample shares with others the keys are
read again. T positions, H heads, K key-value heads, D head width, U units (see Layout).
"""

from typing import Any

import torch
from torch import Tensor

from engine.train.banded import Scoring
from engine.train.native import load_kernels, suits

_LONGEST = 2048  # keys that a token sees; beyond, PyTorch's kernel is faster: in bfloat16
_MULTIPLE = 16  # of the head's width: what kernels take at once


class _SpanAttention(torch.autograd.Function):
    """Scores, softmax and products in float32; flash attention's backward (arXiv 2205.14135)."""

    @staticmethod
    def forward(
        ctx: Any,
        query_THD: Tensor,
        key_TKD: Tensor,
        value_TKD: Tensor,
        units_U5: Tensor,
        scoring: Scoring,
    ) -> Tensor:
        kernels = load_kernels()
        assert kernels is not None
        given = [_lay(x) for x in (query_THD, key_TKD, value_TKD)]
        length, num_heads, width = query_THD.shape
        out_THD = torch.empty(length, num_heads, width, dtype=torch.bfloat16)
        lse_HT = torch.empty(num_heads, length, dtype=torch.float32)
        sizes = _tell_sizes(units_U5, *given)
        at = [x.data_ptr() for x in (*given, out_THD, lse_HT, units_U5, sizes)]
        kernels.attend_forward(*at, *_tell_scoring(scoring))
        ctx.save_for_backward(*given, lse_HT, units_U5)
        ctx.scoring = scoring
        return out_THD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kernels = load_kernels()
        assert kernels is not None
        *given, lse_HT, units_U5 = ctx.saved_tensors
        grad_THD = _lay(grads[0])
        length, num_keys, width = given[1].shape
        threads = torch.get_num_threads()
        # Parts are summed in one order: the same number of threads gives the same gradient.
        num_parts = 1 if num_keys % threads == 0 else min(threads, units_U5.shape[0])
        sums = torch.zeros(num_parts, num_keys, length, 2, width)
        out = [torch.empty(x.shape, dtype=torch.bfloat16) for x in given]
        sizes = _tell_sizes(units_U5, *given, grad_THD, more=(num_parts,))
        at = [x.data_ptr() for x in (grad_THD, *given, lse_HT, *out, sums, units_U5, sizes)]
        kernels.attend_backward(*at, *_tell_scoring(ctx.scoring))
        return (*out, None, None)


def suits_spans(query_THD: Tensor, key_TKD: Tensor, value_TKD: Tensor, dropout: float) -> bool:
    """Say whether heads of this width, type and device go this way."""
    return (
        query_THD.dtype == key_TKD.dtype == value_TKD.dtype == torch.bfloat16
        and query_THD.shape[2] % _MULTIPLE == 0
        and dropout == 0
        and suits(query_THD, key_TKD, value_TKD)
    )


def pays(scoring: Scoring, longest: int) -> bool:
    """Say whether this way is the fastest for samples of which the longest has so many tokens."""
    return scoring.cap is not None or min(longest, scoring.window or longest) <= _LONGEST


def attend_spans(
    query_THD: Tensor,
    key_TKD: Tensor,
    value_TKD: Tensor,
    units_U5: Tensor,
    scoring: Scoring,
) -> Tensor:
    """Attend causally within each unit; return T x H x D in bfloat16."""
    out: Tensor = _SpanAttention.apply(query_THD, key_TKD, value_TKD, units_U5, scoring)
    return out


def _lay(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _tell_scoring(scoring: Scoring) -> tuple[float, float, int]:
    """Return scale, cap and window, as kernels read them: 0 where there is none."""
    return scoring.scale, scoring.cap or 0.0, scoring.window or 0


def _tell_sizes(units_U5: Tensor, *parts: Tensor, more: tuple[int, ...] = ()) -> Tensor:
    """Return T, H, K, D, U, two steps of each part, and more, as kernels read them."""
    query, key = parts[:2]
    steps = [step for x in parts for step in x.stride()[:2]]
    sizes = (*query.shape[:2], key.shape[1], query.shape[2], units_U5.shape[0])
    return torch.tensor([*sizes, *steps, *more], dtype=torch.long)
