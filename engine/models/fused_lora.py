"""A linear layer and its adapter as one step of the graph.

peft's layer is five operations over rows of the layer's width; here the adapter is added into the
layer's own product, and nothing of that width is kept but the layer's input. T rows, I inputs,
O outputs, R rank.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor
from torch.distributed.tensor import DTensor


class _AdaptedLinear(torch.autograd.Function):
    """x W^T + b + s (x A^T) B^T (arXiv 2106.09685, equation 3) under a frozen W and b."""

    @staticmethod
    def forward(
        ctx: Any,
        rows_TI: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        down_RI: Tensor,
        up_OR: Tensor,
        scaling: float,
    ) -> Tensor:
        compute = rows_TI.dtype
        ctx.trained_dtype = down_RI.dtype
        down_RI, up_OR = down_RI.to(compute), (up_OR * scaling).to(compute)
        bias_O = None if bias_O is None else bias_O.to(compute)
        out_TO = torch.nn.functional.linear(rows_TI, weight_OI.to(compute), bias_O)
        low_TR = rows_TI @ down_RI.T
        ctx.save_for_backward(rows_TI, weight_OI, down_RI, up_OR, low_TR)
        ctx.scaling = scaling
        return out_TO.addmm_(low_TR, up_OR.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows_TI, weight_OI, down_RI, up_OR, low_TR = ctx.saved_tensors
        grad_TO = grads[0]
        grad_TR = grad_TO @ up_OR
        grad_down = (grad_TR.T @ rows_TI).to(ctx.trained_dtype)
        grad_up = (grad_TO.T @ low_TR).to(ctx.trained_dtype).mul_(ctx.scaling)
        rows = None
        if ctx.needs_input_grad[0]:
            rows = (grad_TO @ weight_OI.to(grad_TO.dtype)).addmm_(grad_TR, down_RI)
        return rows, None, None, grad_down, grad_up, None


class FusedLoraLinear(Linear):
    """peft's LoRA layer, with the plain case of a training computed at once."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return what peft's own layer does, up to rounding; anything unusual is left to it."""
        name = self._get_plain_adapter()
        if name is None or args or kwargs:
            out: Tensor = super().forward(x, *args, **kwargs)
            return out
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        base = self.get_base_layer()
        with torch.autocast(kind, enabled=False):
            rows: Tensor = _AdaptedLinear.apply(
                x.reshape(-1, x.shape[-1]),
                base.weight,
                base.bias,
                self.lora_A[name].weight,
                self.lora_B[name].weight,
                self.scaling[name],
            )
        return rows.view(*x.shape[:-1], rows.shape[-1])

    def _get_plain_adapter(self) -> str | None:
        """Return the one adapter at work, None where there is more to do than its two products."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        base = self.get_base_layer()
        if (
            len(active) != 1
            or self.merged
            or self.disable_adapters
            or active[0] in self.lora_variant
            or type(base) is not torch.nn.Linear  # quantized ones have products of their own
            or "forward" in vars(base)  # and so have those that were given one
            or base.weight.requires_grad
            or isinstance(base.weight, DTensor)
            or isinstance(self.lora_A[active[0]].weight, DTensor)
            or self.lora_bias[active[0]]
        ):
            return None
        has_dropout = not isinstance(self.lora_dropout[active[0]], torch.nn.Identity)
        return None if has_dropout and self.training else str(active[0])
