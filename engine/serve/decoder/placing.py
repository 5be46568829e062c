"""Puts a model's weights onto a device, layer by layer."""

from dataclasses import replace

import torch
from torch import Tensor

from engine.serve.decoder.weights import (
    DecoderWeights,
    FeedForward,
    LayerWeights,
    LinearWeights,
)


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


def _place_layer(layer: LayerWeights, device: torch.device, dtype: torch.dtype) -> LayerWeights:
    placed: dict[str, object] = {}
    for name, value in vars(layer).items():
        if isinstance(value, Tensor):
            placed[name] = value.to(device, torch.float32)
        elif isinstance(value, LinearWeights):
            placed[name] = _place_linear(value, device, dtype)
        elif isinstance(value, FeedForward):
            placed[name] = _place_ffn(value, device, dtype)
        elif isinstance(value, tuple):
            placed[name] = tuple(_place_ffn(expert, device, dtype) for expert in value)
    return replace(layer, **placed)  # type: ignore[arg-type]


def _place_ffn(ffn: FeedForward, device: torch.device, dtype: torch.dtype) -> FeedForward:
    return FeedForward(*(_place_linear(linear, device, dtype) for linear in vars(ffn).values()))


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
