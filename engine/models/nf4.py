"""4-bit NormalFloat weights (QLoRA, arXiv 2305.14314, section 3): a frozen base at half a byte.

In torch alone, for any device. A weight is looked up again for each pass, backward as well, so that
no more than one layer is ever whole. O outputs and I inputs of a layer; blocks of 64 weights share
a scale, and 256 scales share another: 4.127 bits a weight.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Appendix E: quantiles of a normal distribution, brought to [-1, 1] and with an exact zero.
LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
BLOCK = 64  # weights of one scale; section 3
SCALES = 256  # scales of one scale of scales; section 3, "Double Quantization"
_LARGEST = 448.0  # of an 8-bit float with 4 bits of exponent
# Weights looked up at a time: what a processor's cache holds, and what keeps a GPU busy.
_AT_ONCE_CPU, _AT_ONCE = 2**18, 2**24


class NF4Linear(nn.Linear):
    """A frozen linear layer whose weight is 4 bits a number; as an nn.Linear, peft adapts it.

    What it keeps is in buffers of whole numbers, which no change of the model's dtype touches.
    `weight` is looked up anew each time it is asked for, and takes no gradient.
    """

    def __init__(self, linear: nn.Linear, device: torch.device | None = None) -> None:
        nn.Module.__init__(self)  # not nn.Linear's: there is no parameter `weight`
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().to(device or linear.weight.device)
        packed, scales, scale_of_scales, mean = quantize_nf4(weight)
        self.packed = nn.Buffer(packed)
        self.scales = nn.Buffer(scales.view(torch.uint8))
        self.scale_of_scales = nn.Buffer(scale_of_scales.view(torch.int32))
        self.mean = nn.Buffer(mean.view(torch.int32))
        levels = torch.tensor(LEVELS, device=weight.device)
        self.levels = nn.Buffer(levels.view(torch.int32), persistent=False)
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(weight.device), False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The O x I weight in float32."""
        return self.dequantize(torch.float32)

    def dequantize(self, dtype: torch.dtype) -> Tensor:
        """Return the O x I weight."""
        return _look_up(self._list_kept(), self.out_features, self.in_features, dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply in the dtype of `inputs`, or in that of autocast where it is on."""
        kind = inputs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
        with torch.autocast(kind, enabled=False):
            out: Tensor = _Multiply.apply(
                inputs.to(dtype), self.out_features, self.in_features, *self._list_kept()
            )
        return out if self.bias is None else out + self.bias.to(dtype)

    def keep_as_parameters(self) -> None:
        """Turn what is kept into frozen parameters: FSDP shards these, and no buffers."""
        for name in ("packed", "scales", "scale_of_scales", "mean"):
            kept = getattr(self, name).detach()
            delattr(self, name)
            setattr(self, name, nn.Parameter(kept, requires_grad=False))

    def _list_kept(self) -> tuple[Tensor, ...]:
        return self.packed, self.scales, self.scale_of_scales, self.mean, self.levels


class _Multiply(torch.autograd.Function):
    """`inputs @ weight.T` that keeps for the backward pass what the layer keeps anyway, no more."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, rows: int, columns: int, *kept: Tensor) -> Tensor:
        ctx.save_for_backward(*kept)
        ctx.rows, ctx.columns = rows, columns
        return F.linear(inputs, _look_up(kept, rows, columns, inputs.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept = ctx.saved_tensors  # once: checkpointing hands them out no second time
        weight = _look_up(kept, ctx.rows, ctx.columns, grad.dtype)
        return grad @ weight, *[None] * (2 + len(kept))


def _look_up(kept: tuple[Tensor, ...], rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    packed, scales, scale_of_scales, mean, levels = kept
    values = dequantize_nf4(
        packed,
        scales.view(torch.float8_e4m3fn),
        scale_of_scales.view(torch.float32),
        mean.view(torch.float32),
        levels.view(torch.float32),
        dtype,
    )
    return values[: rows * columns].view(rows, columns)


def quantize_base(
    model: Any, kind: Literal["nf4"] = "nf4", *, device: torch.device | None = None
) -> Any:
    """Bring the linear layers of a decoder to 4 bits, in place, one after the other; return it.

    Embeddings, norms and head stay as they are, as in the paper. With `device`, each weight goes
    there to be quantized and stays: a model loaded on the CPU never is whole on a small GPU.
    """
    assert kind == "nf4"
    head, decoder = model.get_output_embeddings(), model.get_decoder()
    named = decoder.named_modules()
    names = [name for name, each in named if type(each) is nn.Linear and each is not head]
    for name in names:  # and nothing else: who holds the modules holds their weights to the end
        parent, _, own = name.rpartition(".")
        module = decoder.get_submodule(name)
        setattr(decoder.get_submodule(parent), own, NF4Linear(module, device))
    return model if device is None else model.to(device)


def quantize_nf4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return packed levels (two a byte, uint8), scales (float8), their scales and mean (float32).

    A block's scale is its largest magnitude. Scales are all positive: their mean is taken off
    before they are brought to 8 bits themselves.
    """
    flat = weight.flatten()
    blocks = math.ceil(flat.numel() / BLOCK)
    packed = torch.empty(blocks * BLOCK // 2, dtype=torch.uint8, device=flat.device)
    largest = torch.empty(blocks, device=flat.device)
    levels = torch.tensor(LEVELS, device=flat.device)
    borders = (levels[1:] + levels[:-1]) / 2
    for start in range(0, blocks, _AT_ONCE // BLOCK):
        end = min(blocks, start + _AT_ONCE // BLOCK)
        part = flat[start * BLOCK : end * BLOCK].float()
        part = F.pad(part, (0, (end - start) * BLOCK - part.numel())).view(-1, BLOCK)
        largest[start:end] = part.abs().amax(dim=1)
        relative = part / largest[start:end, None].clamp(min=torch.finfo(torch.float32).tiny)
        code = torch.bucketize(relative, borders, out_int32=True).to(torch.uint8).view(-1, 2)
        packed[start * BLOCK // 2 : end * BLOCK // 2] = code[:, 0] << 4 | code[:, 1]
    mean = largest.mean()
    centred = F.pad(largest - mean, (0, -blocks % SCALES)).view(-1, SCALES)
    scale_of_scales = centred.abs().amax(dim=1) / _LARGEST
    scaled = centred / scale_of_scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    scales = scaled.flatten()[:blocks].to(torch.float8_e4m3fn)
    return packed, scales, scale_of_scales, mean[None]


def dequantize_nf4(
    packed: Tensor,
    scales: Tensor,
    scale_of_scales: Tensor,
    mean: Tensor,
    levels: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """Return the flat weights, filling of the last block included, rounded once to `dtype`."""
    pairs = torch.stack([levels.repeat_interleave(16), levels.repeat(16)], dim=1)
    padded = F.pad(scales.float(), (0, -scales.numel() % SCALES)).view(-1, SCALES)
    scale = (padded * scale_of_scales[:, None]).flatten()[: scales.numel()] + mean
    out = torch.empty(2 * packed.numel(), dtype=dtype, device=packed.device)
    step = (_AT_ONCE_CPU if packed.device.type == "cpu" else _AT_ONCE) // 2
    for start in range(0, packed.numel(), step):
        end = min(packed.numel(), start + step)
        values = pairs.index_select(0, packed[start:end].int()).view(-1, BLOCK)
        values *= scale[2 * start // BLOCK : 2 * end // BLOCK, None]
        out[2 * start : 2 * end] = values.flatten()
    return out


def measure_bytes(model: Any) -> int:
    """Return the memory of parameters and buffers, each counted once."""
    kept = {t.data_ptr(): t for t in [*model.parameters(), *model.buffers()]}
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
