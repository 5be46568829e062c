"""Puts a model's weights onto a device, and into 8-bit floats or out of them, layer by layer."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from engine.models.float8 import MULTIPLE, has_fp8, quantize_rows
from engine.serve.decoder.operations import dequantize
from engine.serve.decoder.weights import (
    DecoderWeights,
    FeedForward,
    LayerWeights,
    LinearWeights,
)

Change = Callable[[LinearWeights], LinearWeights]


def place_weights(
    weights: DecoderWeights, device: torch.device, dtype: torch.dtype
) -> DecoderWeights:
    """Move all to a device, layer by layer: floats to `dtype`, norms and scales stay float32."""
    embedding = weights.embedding.to(device, dtype)
    is_tied = weights.head.weight is weights.embedding
    head = replace(weights.head, weight=embedding) if is_tied else weights.head
    return replace(
        weights,
        embedding=embedding,
        layers=tuple(_place_layer(layer, device, dtype) for layer in weights.layers),
        norm=weights.norm.to(device, torch.float32),
        head=_place_linear(head, device, dtype),
    )


def round_to_fp8(weights: DecoderWeights, device: torch.device) -> DecoderWeights:
    """Bring the layers' dense matrices to 8-bit floats, on the device that they are for.

    Embedding and head stay, and so do a mixture's router and what tensor cores do not take.
    """

    def change(linear: LinearWeights) -> LinearWeights:
        if linear.kind != "dense" or not _suits_tensor_cores(linear):
            return linear
        codes, scale = quantize_rows(linear.weight.to(device))
        return replace(linear, kind="fp8", weight=codes, scale=scale.flatten())

    return _change_layers(weights, change)


def widen_fp8(weights: DecoderWeights, dtype: torch.dtype, device: torch.device) -> DecoderWeights:
    """Bring to `dtype` what lies in 8-bit floats that a device does not multiply: none of them, or
    those of odd sides.
    """
    is_able = has_fp8(device)

    def change(linear: LinearWeights) -> LinearWeights:
        if linear.kind != "fp8" or (is_able and _suits_tensor_cores(linear)):
            return linear
        return replace(linear, kind="dense", weight=dequantize(linear, dtype), scale=None)

    return replace(_change_layers(weights, change), head=change(weights.head))


def _suits_tensor_cores(linear: LinearWeights) -> bool:
    return not (linear.num_outputs % MULTIPLE or linear.num_inputs % MULTIPLE)


def _change_layers(weights: DecoderWeights, change: Change) -> DecoderWeights:
    def keep(tensor: Tensor) -> Tensor:
        return tensor

    layers = (
        replace(_change_layer(layer, change, keep), router=layer.router) for layer in weights.layers
    )
    return replace(weights, layers=tuple(layers))


def _place_layer(layer: LayerWeights, device: torch.device, dtype: torch.dtype) -> LayerWeights:
    return _change_layer(
        layer,
        lambda linear: _place_linear(linear, device, dtype),
        lambda norm: norm.to(device, torch.float32),
    )


def _change_layer(
    layer: LayerWeights, change: Change, change_norm: Callable[[Tensor], Tensor]
) -> LayerWeights:
    changed: dict[str, object] = {}
    for name, value in vars(layer).items():
        if isinstance(value, Tensor):
            changed[name] = change_norm(value)
        elif isinstance(value, LinearWeights):
            changed[name] = change(value)
        elif isinstance(value, FeedForward):
            changed[name] = _change_ffn(value, change)
        elif isinstance(value, tuple):
            changed[name] = tuple(_change_ffn(expert, change) for expert in value)
    return replace(layer, **changed)  # type: ignore[arg-type]


def _change_ffn(ffn: FeedForward, change: Change) -> FeedForward:
    return FeedForward(*(change(linear) for linear in vars(ffn).values()))


def _place_linear(linear: LinearWeights, device: torch.device, dtype: torch.dtype) -> LinearWeights:
    def move(tensor: Tensor | None, kind: torch.dtype | None = None) -> Tensor | None:
        return None if tensor is None else tensor.to(device, kind)

    weight = linear.weight.to(device, dtype if linear.kind == "dense" else None)
    return replace(
        linear,
        weight=weight,
        scale=move(linear.scale),
        zero=move(linear.zero),
        bias=move(linear.bias, dtype),
    )
