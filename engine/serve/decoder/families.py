"""Reads a model folder into a `DecoderShape` and `DecoderWeights`, whatever its family is called.

No module of transformers is built and no code that comes with a model is run. Tensors are read one
layer after the other, so that besides what is returned no more than a layer is in memory.
E hidden width, D head width, H heads, K key-value heads, Q query heads of each of those.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.serve.decoder.checkpoint import Checkpoint, bad_model, open_checkpoint
from engine.serve.decoder.linears import LinearReader
from engine.serve.decoder.seeing import find_text_layout
from engine.serve.decoder.shape import DecoderShape
from engine.serve.decoder.shapes import make_shape, read_config
from engine.serve.decoder.sharding import WHOLE, Share, shard_head, shard_layer
from engine.serve.decoder.slicing import take_outputs
from engine.serve.decoder.weights import (
    DecoderWeights,
    FeedForward,
    LayerWeights,
    LinearWeights,
)


@dataclass(frozen=True)
class _Names:
    """What a family calls its tensors; those of a layer come behind `layer`."""

    embedding: str = "model.embed_tokens"
    norm: str = "model.norm"
    head: str = "lm_head"
    layer: str = "model.layers.{index}."
    attention_norm: str = "input_layernorm"
    ffn_norm: str = "post_attention_layernorm"
    output: str = "self_attn.o_proj"
    feed_forward: tuple[str, str, str] = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


_LLAMA = _Names()
_NAMES = {
    "gemma3_text": _Names(ffn_norm="pre_feedforward_layernorm"),
    "mixtral": _Names(feed_forward=("w1", "w3", "w2")),
    "internlm2": _Names(
        embedding="model.tok_embeddings",
        head="output",
        attention_norm="attention_norm",
        ffn_norm="ffn_norm",
        output="attention.wo",
        feed_forward=("feed_forward.w1", "feed_forward.w3", "feed_forward.w2"),
    ),
}


def read_model(
    folder: Path, *, dtype: torch.dtype, share: Share = WHOLE
) -> tuple[DecoderShape, DecoderWeights]:
    """Read a model on the CPU: floats in `dtype`, norms in float32, quantized layers as they are.

    With a `share` of several ranks, shape and weights are that rank's part (`sharding`).

    Raises:
        EngineError: bad_model, in one sentence, when the folder holds no model that can be served.
            bad_spec, when it cannot be divided among so many ranks.
    """
    config = read_config(folder)
    shape = make_shape(folder, config)
    with open_checkpoint(folder) as checkpoint:
        reader = _ModelReader(folder, config, shape, checkpoint, dtype)
        weights = reader.read(share)
        checkpoint.check_all_read()
    return share.divide(shape), weights


class _ModelReader:
    """One pass over the tensors of a checkpoint."""

    def __init__(
        self,
        folder: Path,
        config: Any,
        shape: DecoderShape,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
    ) -> None:
        self._config, self._shape, self._checkpoint = config, shape, checkpoint
        self._dtype = dtype
        self._names = _find_names(shape.family, checkpoint)
        self._linears = LinearReader(
            checkpoint, config, dtype, lambda what: bad_model(folder, what)
        )

    def read(self, share: Share) -> DecoderWeights:
        shape, names = self._shape, self._names
        embedding = self._checkpoint.read(
            f"{names.embedding}.weight", (shape.vocab_size, shape.hidden_size), self._dtype
        )
        layers = [
            shard_layer(self._read_layer(index), shape, share) for index in range(shape.num_layers)
        ]
        return DecoderWeights(
            embedding=embedding,
            layers=tuple(layers),
            norm=self._read_norm(names.norm, shape.hidden_size),
            head=shard_head(self._read_head(embedding), share),
        )

    def _read_head(self, embedding: Tensor) -> LinearWeights:
        if self._config.tie_word_embeddings:
            self._checkpoint.pass_over(f"{self._names.head}.weight")
            return LinearWeights("dense", embedding)
        return self._linears.read(self._names.head, self._shape.vocab_size, self._shape.hidden_size)

    def _read_layer(self, index: int) -> LayerWeights:
        shape, names = self._shape, self._names
        layer = names.layer.format(index=index)
        query, key, value = self._read_attention(layer)
        inner = shape.num_heads * shape.head_dim
        has_bias = self._has_attention_bias(of_output=True)
        optional = self._read_optional_norms(layer)
        router, feed_forward = None, None
        experts: tuple[FeedForward, ...] = ()
        if shape.num_experts:
            router, experts = self._read_experts(layer)
        else:
            feed_forward = self._read_feed_forward(layer)
        return LayerWeights(
            attention_norm=self._read_norm(layer + names.attention_norm, shape.hidden_size),
            query=query,
            key=key,
            value=value,
            output=self._linears.read(
                layer + names.output, shape.hidden_size, inner, has_bias=has_bias
            ),
            ffn_norm=self._read_norm(layer + names.ffn_norm, shape.hidden_size),
            feed_forward=feed_forward,
            router=router,
            experts=experts,
            **optional,
        )

    def _read_optional_norms(self, layer: str) -> dict[str, Tensor]:
        shape, found = self._shape, {}
        if shape.has_query_key_norm:
            for field, name in (("query_norm", "q_norm"), ("key_norm", "k_norm")):
                found[field] = self._read_norm(f"{layer}self_attn.{name}", shape.head_dim)
        if shape.has_sandwich_norm:
            for field, name in (
                ("attention_post_norm", "post_attention_layernorm"),
                ("ffn_post_norm", "post_feedforward_layernorm"),
            ):
                found[field] = self._read_norm(layer + name, shape.hidden_size)
        return found

    def _read_norm(self, name: str, size: int) -> Tensor:
        norm = self._checkpoint.read(f"{name}.weight", (size,), torch.float32)
        return norm + 1 if self._shape.family == "gemma3_text" else norm

    def _read_attention(self, layer: str) -> tuple[LinearWeights, LinearWeights, LinearWeights]:
        shape = self._shape
        wide, narrow = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
        has_bias = self._has_attention_bias(of_output=False)
        if shape.family == "internlm2":
            fused = self._linears.read(
                f"{layer}attention.wqkv", wide + 2 * narrow, shape.hidden_size, has_bias=has_bias
            )
            query, key, value = (take_outputs(fused, rows) for rows in split_fused_rows(shape))
            return query, key, value
        query, key, value = (
            self._linears.read(
                f"{layer}self_attn.{name}", outputs, shape.hidden_size, has_bias=has_bias
            )
            for name, outputs in (("q_proj", wide), ("k_proj", narrow), ("v_proj", narrow))
        )
        return query, key, value

    def _has_attention_bias(self, *, of_output: bool) -> bool:
        if self._shape.family == "qwen2":
            return not of_output
        name = "bias" if self._shape.family == "internlm2" else "attention_bias"
        return bool(getattr(self._config, name, False))

    def _read_feed_forward(self, prefix: str) -> FeedForward:
        wide, narrow = self._shape.intermediate_size, self._shape.hidden_size
        gate, up, down = self._names.feed_forward
        has_bias = bool(getattr(self._config, "mlp_bias", False))
        read = self._linears.read
        return FeedForward(
            gate=read(prefix + gate, wide, narrow, has_bias=has_bias),
            up=read(prefix + up, wide, narrow, has_bias=has_bias),
            down=read(prefix + down, narrow, wide, has_bias=has_bias),
        )

    def _read_experts(self, layer: str) -> tuple[LinearWeights, tuple[FeedForward, ...]]:
        block, shape = f"{layer}block_sparse_moe.", self._shape
        router = self._linears.read(f"{block}gate", shape.num_experts, shape.hidden_size)
        experts = [
            self._read_feed_forward(f"{block}experts.{index}.")
            for index in range(shape.num_experts)
        ]
        return router, tuple(experts)


def _find_names(family: str, checkpoint: Checkpoint) -> _Names:
    """Return what a checkpoint calls its tensors; the parts that are no text are passed over."""
    names = _NAMES.get(family, _LLAMA)
    layout = find_text_layout(checkpoint.has) if family == "gemma3_text" else None
    if layout is None:
        return names
    for prefix in layout.others:
        checkpoint.pass_over_part(prefix)
    return replace(
        names,
        embedding=names.embedding.replace("model.", layout.model, 1),
        norm=names.norm.replace("model.", layout.model, 1),
        layer=names.layer.replace("model.", layout.model, 1),
        head=layout.head,
    )


def split_fused_rows(shape: DecoderShape) -> tuple[Tensor, Tensor, Tensor]:
    """Return which outputs of InternLM2's `wqkv` are queries, keys and values.

    For each of K key-value heads it has Q query heads, the key and the value, D each.
    """
    shared = shape.num_heads // shape.num_kv_heads
    rows = torch.arange(shape.num_kv_heads * (shared + 2) * shape.head_dim)
    rows_KQD = rows.view(shape.num_kv_heads, shared + 2, shape.head_dim)
    return rows_KQD[:, :shared].flatten(), rows_KQD[:, -2].flatten(), rows_KQD[:, -1].flatten()
