"""The decoder in torch: right on any device, and the reference of the other ones.

N new tokens, R wanted rows, V vocabulary, E hidden width, H heads, K key-value heads, D head width.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ProcessGroup

from engine.serve.decoder.attention import Attending
from engine.serve.decoder.operations import (
    activate,
    apply_linear,
    choose_experts,
    make_angles,
    rms_norm,
    rotate,
)
from engine.serve.decoder.plan import Plan, make_plan, make_tiles
from engine.serve.decoder.pool import KV_KINDS, PoolShape
from engine.serve.decoder.shape import DecoderShape, LayerShape
from engine.serve.decoder.slots import LoraSlots
from engine.serve.decoder.step import LoraPair, StepBatch
from engine.serve.decoder.weights import (
    DecoderWeights,
    FeedForward,
    LayerWeights,
    LinearWeights,
)


class TorchDecoder:
    """A model with its pool of key-value blocks. One thread only.

    With `is_batch_invariant` each request's rows are computed in tiles of their own (`plan`):
    bit for bit the same whatever else happens, and several times slower.
    """

    def __init__(
        self,
        shape: DecoderShape,
        weights: DecoderWeights,
        *,
        num_blocks: int,
        block_size: int = 16,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        max_adapters: int = 0,
        kv_bits: int | Sequence[int] = 16,
        is_batch_invariant: bool = False,
    ) -> None:
        """Put the weights on `device`, floats in `dtype`; what is so already is shared.

        `kv_bits` is 16, 8 or 4, for all layers or for each.
        """
        self.vocab_size = shape.vocab_size
        self.block_size, self.num_blocks = block_size, num_blocks
        self.is_batch_invariant = is_batch_invariant
        self._shape = shape
        self._device, self._dtype = torch.device(device), dtype
        self._weights = _place(weights, self._device, dtype)
        bits = [kv_bits] * shape.num_layers if isinstance(kv_bits, int) else list(kv_bits)
        pool = PoolShape(num_blocks, block_size, shape.num_kv_heads, shape.head_dim)
        self._pools = [
            pool.make(KV_KINDS[each], dtype, self._device)
            for each, _ in zip(bits, shape.layers, strict=True)
        ]
        self._slots = LoraSlots(max_adapters, dtype, self._device)

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> Tensor:
        """Write the new keys and values into the pool and return float32 logits, R x V."""
        return self._apply_head(self._run(batch)).float()

    @torch.inference_mode()
    def embed(self, batch: StepBatch) -> Tensor:
        """As `forward`, but return the normed last hidden states of the wanted rows, R x E."""
        return self._run(batch).float()

    @torch.inference_mode()
    def set_adapter(self, slot: int, pairs: dict[tuple[int, str], LoraPair]) -> None:
        """Fill a slot; one that was filled before is replaced.

        Raises:
            ValueError: when there is no such slot.
        """
        self._slots.set(slot, pairs)

    @torch.inference_mode()
    def drop_adapter(self, slot: int) -> None:
        """Empty a slot."""
        self._slots.drop(slot)

    @torch.inference_mode()
    def copy_block(self, source: int, target: int) -> None:
        """Copy a block's keys and values in every layer."""
        for pool in self._pools:
            pool.keys.copy_block(source, target)
            pool.values.copy_block(source, target)

    def _run(self, batch: StepBatch) -> Tensor:
        if not self.is_batch_invariant:
            return self._pass_layers(make_plan(batch, self.block_size, self._device))
        tiles = make_tiles(batch, self.block_size, self._device)
        hidden = torch.cat([self._pass_layers(tile) for tile in tiles])
        order = batch.logits_rows_R.argsort().argsort()  # tiles come in the order of rows
        return hidden[order.to(hidden.device)]

    def _pass_layers(self, plan: Plan) -> Tensor:
        """Return the normed hidden states of the wanted rows, R x E."""
        shape = self._shape
        hidden = F.embedding(plan.token_ids_N, self._weights.embedding)
        if shape.embedding_scale != 1.0:
            hidden = hidden * torch.tensor(shape.embedding_scale, dtype=hidden.dtype)
        angles = [make_angles(plan.positions_N, rope, self._dtype) for rope in shape.ropes]
        for index, layer in enumerate(shape.layers):
            hidden = self._pass_layer(hidden, index, angles[layer.rope_index], plan)
        return rms_norm(hidden[plan.wanted_rows], self._weights.norm, shape.norm_eps)

    def _pass_layer(
        self, hidden_NE: Tensor, index: int, angles: tuple[Tensor, Tensor], plan: Plan
    ) -> Tensor:
        weights, eps = self._weights.layers[index], self._shape.norm_eps
        rows = rms_norm(hidden_NE, weights.attention_norm, eps)
        out = self._attend(rows, index, angles, plan)
        if weights.attention_post_norm is not None:
            out = rms_norm(out, weights.attention_post_norm, eps)
        hidden_NE = hidden_NE + out
        rows = rms_norm(hidden_NE, weights.ffn_norm, eps)
        if weights.feed_forward is None:
            out = self._mix_experts(rows, weights)
        else:
            out = self._feed_forward(rows, weights.feed_forward, index, plan)
        if weights.ffn_post_norm is not None:
            out = rms_norm(out, weights.ffn_post_norm, eps)
        return hidden_NE + out

    def _attend(
        self, rows_NE: Tensor, index: int, angles: tuple[Tensor, Tensor], plan: Plan
    ) -> Tensor:
        weights, shape = self._weights.layers[index], self._shape
        heads = []
        for name in ("query", "key", "value"):
            out = self._project(rows_NE, getattr(weights, name), (index, name), plan)
            heads.append(out.unflatten(1, (-1, shape.head_dim)))
        query, key, value = heads
        if weights.query_norm is not None and weights.key_norm is not None:
            query = rms_norm(query, weights.query_norm, shape.norm_eps)
            key = rms_norm(key, weights.key_norm, shape.norm_eps)
        query, key = rotate(query, angles), rotate(key, angles)
        pool = self._pools[index]
        pool.keys.write(plan.pool_rows, key[plan.written_rows])
        pool.values.write(plan.pool_rows, value[plan.written_rows])
        out = self._attend_pool(query, index, shape.layers[index], plan)
        return self._project(out.flatten(1), weights.output, (index, "output"), plan)

    def _attend_pool(self, query_NHD: Tensor, index: int, layer: LayerShape, plan: Plan) -> Tensor:
        shape = self._shape
        scale = shape.attention_scale or shape.head_dim**-0.5
        how = Attending(shape.num_kv_heads, scale, layer.window)
        out = torch.empty_like(query_NHD)
        for group in plan.decodes:
            out[group.rows_S] = group.attend(query_NHD, self._pools[index], how)
        for chunk in plan.chunks:
            out[chunk.start : chunk.end] = chunk.attend(query_NHD, self._pools[index], how)
        return out

    def _feed_forward(self, rows_NE: Tensor, ffn: FeedForward, index: int, plan: Plan) -> Tensor:
        gate = self._project(rows_NE, ffn.gate, (index, "gate"), plan)
        up = self._project(rows_NE, ffn.up, (index, "up"), plan)
        inner = activate(gate, self._shape.activation).mul_(up)
        return self._project(inner, ffn.down, (index, "down"), plan)

    def _mix_experts(self, rows_NE: Tensor, weights: LayerWeights) -> Tensor:
        assert weights.router is not None
        router = apply_linear(rows_NE, weights.router)
        shares, chosen = choose_experts(router, self._shape.num_experts_per_token)
        out = torch.zeros_like(rows_NE)
        for number, expert in enumerate(weights.experts):
            rows, places = torch.where(chosen == number)
            if len(rows):
                own = rows_NE[rows]
                inner = activate(apply_linear(own, expert.gate), self._shape.activation)
                made = apply_linear(inner * apply_linear(own, expert.up), expert.down)
                out.index_add_(0, rows, (made * shares[rows, places, None]).to(out.dtype))
        return out

    def _project(
        self, rows_NI: Tensor, linear: LinearWeights, target: tuple[int, str], plan: Plan
    ) -> Tensor:
        out = apply_linear(rows_NI, linear)
        self._slots.add(out, rows_NI, target, plan.slots)
        return out

    def _apply_head(self, hidden_RE: Tensor) -> Tensor:
        return apply_linear(hidden_RE, self._weights.head)


def _place(weights: DecoderWeights, device: torch.device, dtype: torch.dtype) -> DecoderWeights:
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
