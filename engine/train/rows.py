"""Norm, gate and rotation of a layer as one pass over rows each, where kernels can take them.

Other than a chain of PyTorch's operations they read and write bfloat16, compute in float32 and keep
for the backward pass no more than they were given. T rows, E their width, H heads, D head width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.train.native import load_kernels, suits


class _Norm(torch.autograd.Function):
    """RMSNorm (arXiv 1910.07467): rows over their root mean square, times a weight."""

    @staticmethod
    def forward(ctx: Any, rows_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
        kernels = load_kernels()
        assert kernels is not None
        num_rows, width = rows_TE.shape
        out_TE = torch.empty(num_rows, width, dtype=torch.bfloat16)
        scale_T = torch.empty(num_rows, dtype=torch.float32)
        kinds = [x.dtype == torch.float32 for x in (rows_TE, weight_E)]
        at = [x.data_ptr() for x in (rows_TE, weight_E, out_TE, scale_T)]
        kernels.norm_forward(*at, num_rows, width, eps, *kinds)
        ctx.save_for_backward(rows_TE, weight_E, scale_T)
        return out_TE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        kernels = load_kernels()
        assert kernels is not None
        rows_TE, weight_E, scale_T = ctx.saved_tensors
        grad_TE = grads[0].contiguous()
        num_rows, width = rows_TE.shape
        grad_rows = torch.empty_like(rows_TE)
        # Parts are summed in one order: the same number of threads gives the same gradient.
        num_parts = torch.get_num_threads()
        is_learnt = ctx.needs_input_grad[1]
        sums = torch.zeros(num_parts, width) if is_learnt else None
        kinds = [x.dtype == torch.float32 for x in (rows_TE, weight_E)]
        kernels.norm_backward(
            *(x.data_ptr() for x in (grad_TE, rows_TE, weight_E, scale_T, grad_rows)),
            sums.data_ptr() if sums is not None else None,
            *(num_rows, width, num_parts),
            *kinds,
        )
        return grad_rows, None if sums is None else sums.sum(0).to(weight_E.dtype), None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_TE: Tensor, up_TE: Tensor) -> Tensor:
        kernels = load_kernels()
        assert kernels is not None
        out_TE = torch.empty_like(gate_TE)
        at = [x.data_ptr() for x in (gate_TE, up_TE, out_TE)]
        kernels.gate_forward(*at, gate_TE.numel())
        ctx.save_for_backward(gate_TE, up_TE)
        return out_TE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        kernels = load_kernels()
        assert kernels is not None
        gate_TE, up_TE = ctx.saved_tensors
        grad_TE = grads[0].contiguous()
        grad_gate, grad_up = torch.empty_like(gate_TE), torch.empty_like(up_TE)
        at = [x.data_ptr() for x in (grad_TE, gate_TE, up_TE, grad_gate, grad_up)]
        kernels.gate_backward(*at, gate_TE.numel())
        return grad_gate, grad_up


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_THD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
        ctx.save_for_backward(cos_TD, sin_TD)
        return _rotate(rows_THD, cos_TD, sin_TD, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos_TD, sin_TD = ctx.saved_tensors
        return _rotate(grads[0], cos_TD, sin_TD, -1.0), None, None


def _rotate(rows_THD: Tensor, cos_TD: Tensor, sin_TD: Tensor, sign: float) -> Tensor:
    kernels = load_kernels()
    assert kernels is not None
    cos_TD, sin_TD = (
        x.float().contiguous() for x in (cos_TD, sin_TD)
    )  # all layers share what is kept
    if rows_THD.stride(2) != 1:
        rows_THD = rows_THD.contiguous()
    out_THD = torch.empty(rows_THD.shape, dtype=rows_THD.dtype)
    kernels.rotate(
        *(rows_THD.data_ptr(), rows_THD.stride(0), rows_THD.stride(1)),
        *(cos_TD.data_ptr(), sin_TD.data_ptr(), cos_TD.stride(0), out_THD.data_ptr()),
        *rows_THD.shape,
        sign,
    )
    return out_THD


def learn_in_place(
    logits_BV: Tensor, target_B: Tensor, weight_B: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return B weighted cross-entropies, the weights of what was right, and the gradients.

    These are the bfloat16 logits themselves, as they are now.
    """
    kernels = load_kernels()
    assert kernels is not None
    loss_B, right_B = torch.empty(2, len(target_B), dtype=torch.float32)
    weights = None if weight_B is None else weight_B.data_ptr()
    at = (logits_BV.data_ptr(), target_B.data_ptr(), weights)
    kernels.learn_logits(*at, loss_B.data_ptr(), right_B.data_ptr(), *logits_BV.shape)
    return loss_B, right_B, logits_BV


def norm_rows(rows: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """Return RMSNorm of rows of E, in bfloat16; they and the weight are that or float32."""
    flat = rows.reshape(-1, rows.shape[-1]).contiguous()
    out: Tensor = _Norm.apply(flat, weight_E, eps)
    return out.view(rows.shape)


def gate_rows(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up, of one shape."""
    is_bf16 = gate.dtype == up.dtype == torch.bfloat16
    if not is_bf16 or not suits(gate, up):
        return F.silu(gate) * up
    out: Tensor = _Gate.apply(gate.contiguous(), up.contiguous())
    return out


def rotate_rows(rows_THD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn the pairs (d, d + D/2) of bfloat16 heads by angles that both of a pair have."""
    out: Tensor = _Rotation.apply(rows_THD, cos_TD, sin_TD)
    return out
