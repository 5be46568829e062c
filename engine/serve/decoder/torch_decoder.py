"""The decoder in torch: right on any device, and the reference of the other ones.

N new tokens, R wanted rows, V vocabulary, E hidden width, H heads, K key-value heads, D head width.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Literal, Protocol

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from engine.serve.decoder.attention import Attending
from engine.serve.decoder.kernels import Kernels, TorchKernels
from engine.serve.decoder.operations import (
    activate,
    choose_experts,
    make_angles,
    rms_norm,
    rotate,
)
from engine.serve.decoder.placing import place_weights
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

KernelsName = Literal["auto", "torch", "triton"]
Finish = Callable[[Tensor], Tensor]


class Graphs(Protocol):
    """Passes that were recorded (`graphs`)."""

    def forward(self, batch: StepBatch, adapters_version: int) -> Tensor | None:
        """Return the logits, or None of a batch that is none of them."""
        ...


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
        group: dist.ProcessGroup | None = None,
        kernels: KernelsName = "auto",
    ) -> None:
        """Put the weights on `device`, floats in `dtype`; what is so already is shared.

        `kv_bits` is 16, 8 or 4, for all layers or for each. With a `group`, shape and weights are
        this rank's share of them, and all ranks are asked the same (`parallel`). `auto` kernels
        are Triton's on a GPU that has it. With those, decode steps of a dense model on one device
        are CUDA graphs.
        """
        self._group = group
        self.vocab_size = shape.vocab_size
        self.block_size, self.num_blocks = block_size, num_blocks
        self.is_batch_invariant = is_batch_invariant
        is_alone = group is None and not is_batch_invariant
        self.goes_ahead = is_alone and torch.device(device).type == "cuda"
        self._shape = shape
        self._device, self._dtype = torch.device(device), dtype
        self._weights = place_weights(weights, self._device, dtype)
        bits = [kv_bits] * shape.num_layers if isinstance(kv_bits, int) else list(kv_bits)
        pool = PoolShape(num_blocks, block_size, shape.num_kv_heads, shape.head_dim)
        self._pools = [
            pool.make(KV_KINDS[each], dtype, self._device)
            for each, _ in zip(bits, shape.layers, strict=True)
        ]
        self._slots = LoraSlots(max_adapters, dtype, self._device)
        self._ropes = [
            (torch.tensor(rope.inverse_frequencies, device=self._device), rope.attention_factor)
            for rope in shape.ropes
        ]
        self._kernels: Kernels = TorchKernels(self._device)
        self._graphs: Graphs | None = None
        if kernels == "triton" or (kernels == "auto" and _has_triton(self._device)):
            self._use_triton()

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> Tensor:
        """Write the new keys and values into the pool and return float32 logits, R x V."""
        with self._on_device():
            if self._graphs is not None:
                logits = self._graphs.forward(batch, self._slots.version)
                if logits is not None:
                    return logits
            return self._run(batch, self._apply_head)

    @torch.inference_mode()
    def embed(self, batch: StepBatch) -> Tensor:
        """As `forward`, but return the normed last hidden states of the wanted rows, R x E."""
        with self._on_device():
            return self._run(batch, lambda hidden_RE: hidden_RE)

    def check_slot(self, slot: int) -> None:
        """Prove that there is a slot of that number.

        Raises:
            ValueError: when there is none.
        """
        self._slots.check(slot)

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

    def close(self) -> None:
        """Nothing outlives it."""

    def _on_device(self) -> AbstractContextManager[object]:
        """Make a GPU the thread's own: Triton starts its kernels on that one."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

    def _use_triton(self) -> None:
        # Only here: Triton comes with torch's CUDA builds alone.
        from engine.serve.decoder.graphs import DecodeGraphs
        from engine.serve.decoder.triton.kernels import TritonKernels

        self._kernels = TritonKernels(self._device)
        # The number of rows that choose an expert is known on the GPU alone, which no graph takes.
        if not (self._shape.num_experts or self._group or self.is_batch_invariant):
            self._graphs = DecodeGraphs(
                lambda plan: self._apply_head(self._pass_layers(plan)).float(),
                spare_row=self.num_blocks * self.block_size,
                block_size=self.block_size,
                device=self._device,
            )

    def _run(self, batch: StepBatch, finish: Finish) -> Tensor:
        """Return what `finish` makes of the wanted rows' hidden states, in float32."""
        if not self.is_batch_invariant:
            plan = make_plan(batch, self.block_size, self._device, self._kernels)
            return finish(self._pass_layers(plan)).float()
        tiles = make_tiles(batch, self.block_size, self._device)
        # All rows of a tile are finished, so that their number is always the same.
        rows = [finish(self._pass_layers(plan))[wanted] for plan, wanted in tiles]
        order = batch.logits_rows_R.argsort().argsort()  # tiles come in the order of rows
        return torch.cat(rows)[order.to(self._device)].float()

    def _pass_layers(self, plan: Plan) -> Tensor:
        """Return the normed hidden states of the wanted rows, R x E."""
        shape = self._shape
        hidden = F.embedding(plan.token_ids_N, self._weights.embedding)
        if shape.embedding_scale != 1.0:
            hidden = hidden * torch.tensor(shape.embedding_scale, dtype=hidden.dtype)
        angles = [make_angles(plan.positions_N, *rope, self._dtype) for rope in self._ropes]
        added: Tensor | None = None
        for index, layer in enumerate(shape.layers):
            hidden, added = self._pass_layer(hidden, added, index, angles[layer.rope_index], plan)
        assert added is not None
        hidden = (hidden + added)[plan.wanted_rows]
        return rms_norm(hidden, self._weights.norm, shape.norm_eps)

    def _pass_layer(
        self,
        hidden_NE: Tensor,
        added_NE: Tensor | None,
        index: int,
        angles: tuple[Tensor, Tensor],
        plan: Plan,
    ) -> tuple[Tensor, Tensor]:
        """Return what came in, and what is to be added to it, which the next norm does."""
        weights, eps = self._weights.layers[index], self._shape.norm_eps
        add_and_norm = self._kernels.add_and_norm
        hidden_NE, rows = add_and_norm(hidden_NE, added_NE, weights.attention_norm, eps)
        out = self._attend(rows, index, angles, plan)
        if weights.attention_post_norm is not None:
            out = rms_norm(out, weights.attention_post_norm, eps)
        hidden_NE, rows = add_and_norm(hidden_NE, out, weights.ffn_norm, eps)
        if weights.feed_forward is None:
            out = self._sum_ranks(self._mix_experts(rows, weights))
        else:
            out = self._sum_ranks(self._feed_forward(rows, weights.feed_forward, index, plan))
        if weights.ffn_post_norm is not None:
            out = rms_norm(out, weights.ffn_post_norm, eps)
        return hidden_NE, out

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
        out = self._project(out.flatten(1), weights.output, (index, "output"), plan)
        return self._sum_ranks(out)

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
        apply_linear = self._kernels.apply_linear
        router = apply_linear(rows_NE, weights.router)
        shares, chosen = choose_experts(router, self._shape.num_experts_per_token)
        out = torch.zeros_like(rows_NE)
        for number, expert in enumerate(weights.experts):
            rows, places = torch.where(chosen == number)
            if not len(rows):
                continue
            # How many rows choose an expert depends on all of them: in tiles it computes all.
            own = rows_NE if self.is_batch_invariant else rows_NE[rows]
            inner = activate(apply_linear(own, expert.gate), self._shape.activation)
            made = apply_linear(inner * apply_linear(own, expert.up), expert.down)
            made = made[rows] if self.is_batch_invariant else made
            out.index_add_(0, rows, (made * shares[rows, places, None]).to(out.dtype))
        return out

    def _project(
        self, rows_NI: Tensor, linear: LinearWeights, target: tuple[int, str], plan: Plan
    ) -> Tensor:
        out = self._kernels.apply_linear(rows_NI, linear)
        self._slots.add(out, rows_NI, target, plan.slots)
        return out

    def _apply_head(self, hidden_RE: Tensor) -> Tensor:
        """Return R x V; each rank has a share of the tokens, the last perhaps a shorter one."""
        logits = self._kernels.apply_linear(hidden_RE, self._weights.head)
        if self._group is None:
            return logits
        world = dist.get_world_size(self._group)
        part = -(-self.vocab_size // world)
        own = F.pad(logits, (0, part - logits.shape[1])).contiguous()
        parts = [torch.empty_like(own) for _ in range(world)]
        dist.all_gather(parts, own, group=self._group)
        return torch.cat(parts, dim=1)[:, : self.vocab_size]

    def _sum_ranks(self, out_NE: Tensor) -> Tensor:
        if self._group is not None:
            dist.all_reduce(out_NE, group=self._group)
        return out_NE


def _has_triton(device: torch.device) -> bool:
    return device.type == "cuda" and find_spec("triton") is not None
