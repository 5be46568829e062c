"""The same models in a few lines of float64 torch, one request at a time and without a cache."""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.serve.decoder.shape import DecoderShape
from engine.serve.decoder.step import LoraPair
from engine.serve.decoder.weights import DecoderWeights, FeedForward, LayerWeights, LinearWeights

Pairs = dict[tuple[int, str], LoraPair]


def dequantize(linear: LinearWeights) -> Tensor:
    weight = linear.weight
    if linear.kind == "dense":
        return weight.double()
    assert linear.scale is not None
    if linear.kind == "int8":
        return weight.double() * linear.scale.double()[:, None]
    values = torch.stack([weight & 15, weight >> 4], 2).flatten(1).double()
    zero = torch.full_like(linear.scale, 8.0) if linear.zero is None else linear.zero
    grouped = values.unflatten(1, (linear.scale.shape[1], -1))
    grouped = (grouped - zero.double()[:, :, None]) * linear.scale.double()[:, :, None]
    return grouped.flatten(1)


class Reference:
    """Every logit of one request."""

    def __init__(self, shape: DecoderShape, weights: DecoderWeights) -> None:
        self.shape = shape
        self.weights = weights

    def hidden(self, tokens: list[int], pairs: Pairs | None = None) -> Tensor:
        pairs = pairs or {}
        shape = self.shape
        x = self.weights.embedding[torch.tensor(tokens)].double() * shape.embedding_scale
        for index, layer in enumerate(self.weights.layers):
            added = self._attend(x, index, layer, pairs)
            if layer.attention_post_norm is not None:
                added = self._norm(added, layer.attention_post_norm)
            x = x + added
            h = self._norm(x, layer.ffn_norm)
            added = self._mix(h, layer) if layer.router else self._feed(h, index, layer, pairs)
            if layer.ffn_post_norm is not None:
                added = self._norm(added, layer.ffn_post_norm)
            x = x + added
        return self._norm(x, self.weights.norm)

    def logits(self, tokens: list[int], pairs: Pairs | None = None) -> Tensor:
        return self._linear(self.hidden(tokens, pairs), self.weights.head)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        scale = (x.square().mean(-1, keepdim=True) + self.shape.norm_eps).rsqrt()
        return x * scale * weight.double()

    def _linear(self, x: Tensor, linear: LinearWeights, pair: LoraPair | None = None) -> Tensor:
        y = x @ dequantize(linear).T
        if linear.bias is not None:
            y = y + linear.bias.double()
        if pair is not None:
            y = y + x @ pair.a_RI.double().T @ pair.b_OR.double().T
        return y

    def _turn(self, x: Tensor, index: int) -> Tensor:
        rope = self.shape.ropes[self.shape.layers[index].rope_index]
        positions = torch.arange(x.shape[0], dtype=torch.float64)
        angles = positions[:, None] * torch.tensor(rope.inverse_frequencies, dtype=torch.float64)
        cos = angles.cos()[:, None] * rope.attention_factor
        sin = angles.sin()[:, None] * rope.attention_factor
        half = angles.shape[1]
        a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def _attend(self, x: Tensor, index: int, layer: LayerWeights, pairs: Pairs) -> Tensor:
        shape = self.shape
        h = self._norm(x, layer.attention_norm)
        q, k, v = (
            self._linear(h, linear, pairs.get((index, part))).unflatten(1, (-1, shape.head_dim))
            for part, linear in (("query", layer.query), ("key", layer.key), ("value", layer.value))
        )
        if layer.query_norm is not None and layer.key_norm is not None:
            q, k = self._norm(q, layer.query_norm), self._norm(k, layer.key_norm)
        q, k = self._turn(q, index), self._turn(k, index)
        group = shape.num_heads // shape.num_kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = torch.einsum("qhd,khd->hqk", q, k)
        scores = scores * (shape.attention_scale or shape.head_dim**-0.5)
        steps = torch.arange(len(x))
        distance = steps[:, None] - steps[None, :]
        window = shape.layers[index].window or len(x)
        scores = scores.masked_fill((distance < 0) | (distance >= window), -torch.inf)
        out = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)
        return self._linear(out, layer.output, pairs.get((index, "output")))

    def _feed(self, h: Tensor, index: int, layer: LayerWeights, pairs: Pairs) -> Tensor:
        assert layer.feed_forward is not None
        return self._run_parts(h, layer.feed_forward, index, pairs)

    def _run_parts(self, h: Tensor, parts: FeedForward, index: int, pairs: Pairs) -> Tensor:
        gate = self._linear(h, parts.gate, pairs.get((index, "gate")))
        up = self._linear(h, parts.up, pairs.get((index, "up")))
        is_silu = self.shape.activation == "silu"
        inner = (F.silu(gate) if is_silu else F.gelu(gate, approximate="tanh")) * up
        return self._linear(inner, parts.down, pairs.get((index, "down")))

    def _mix(self, h: Tensor, layer: LayerWeights) -> Tensor:
        assert layer.router is not None
        probabilities = self._linear(h, layer.router).softmax(-1)
        shares, chosen = probabilities.topk(self.shape.num_experts_per_token, dim=-1)
        shares = shares / shares.sum(-1, keepdim=True)
        rows = []
        for row, row_shares, row_chosen in zip(h, shares, chosen, strict=True):
            outs = [
                share * self._run_parts(row[None], layer.experts[int(expert)], -1, {})[0]
                for share, expert in zip(row_shares, row_chosen, strict=True)
            ]
            rows.append(torch.stack(outs).sum(0))
        return torch.stack(rows)
