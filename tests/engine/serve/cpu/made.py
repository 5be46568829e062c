"""Small random models of every family and kind of weight, and the batches that run them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine.serve.cpu.packing import count_part
from engine.serve.decoder.shape import DecoderShape, LayerShape, RopeShape
from engine.serve.decoder.step import Decoder, LoraPair, StepBatch
from engine.serve.decoder.weights import (
    DecoderWeights,
    FeedForward,
    LayerWeights,
    LinearWeights,
)

BLOCK_SIZE = 16

_SMALL = DecoderShape(
    family="llama",
    vocab_size=99,
    hidden_size=64,
    intermediate_size=160,
    num_heads=6,
    num_kv_heads=2,
    head_dim=16,
    layers=(LayerShape(), LayerShape()),
    ropes=(RopeShape(tuple(10000.0 ** (-i / 8) for i in range(8))),),
    norm_eps=1e-5,
    max_positions=512,
)
_SLOW_ROPE = RopeShape(tuple(1e6 ** (-i / 8) for i in range(8)), attention_factor=1.2)

SHAPES: dict[str, DecoderShape] = {
    "llama": _SMALL,
    "qwen2": replace(_SMALL, family="qwen2"),
    "qwen3": replace(_SMALL, family="qwen3", has_query_key_norm=True),
    "gemma3_text": replace(
        _SMALL,
        family="gemma3_text",
        layers=(LayerShape(0, window=20), LayerShape(1)),
        ropes=(_SMALL.ropes[0], _SLOW_ROPE),
        activation="gelu_tanh",
        attention_scale=0.2,
        embedding_scale=8.0,
        has_query_key_norm=True,
        has_sandwich_norm=True,
    ),
    "mistral": replace(_SMALL, family="mistral", layers=(LayerShape(0, 24), LayerShape(0, 24))),
    "mixtral": replace(_SMALL, family="mixtral", num_experts=4, num_experts_per_token=2),
    "internlm2": replace(_SMALL, family="internlm2", num_heads=4, num_kv_heads=1, head_dim=24),
}

KINDS = (
    "float32",
    "bfloat16",
    "int8",
    "int8_rows",
    "int4_g64",
    "int4_g32",
    "int4_g32_zeros",
    "int4_g32_fractions",
)


def make_linear(outputs: int, inputs: int, kind: str, *, has_bias: bool = False) -> LinearWeights:
    weight = torch.randn(outputs, inputs) * inputs**-0.5
    bias = torch.randn(outputs) * 0.1 if has_bias else None
    if kind in ("float32", "bfloat16"):
        return LinearWeights("dense", weight.to(getattr(torch, kind)), bias=bias)
    if kind.startswith("int8"):
        scale = weight.abs().amax(1) / 127
        values = (weight / scale[:, None]).round().to(torch.int8)
        return LinearWeights("int8", values, scale, None, bias, has_int8_inputs=kind == "int8_rows")
    group = int(kind.split("_")[1][1:])
    group = group if inputs % group == 0 else 32
    levels = torch.randint(0, 16, (outputs, inputs), dtype=torch.uint8)
    scale = (torch.rand(outputs, inputs // group) + 0.5) * inputs**-0.5 / 5
    zero = None
    if kind.endswith("zeros"):
        zero = torch.randint(4, 12, scale.shape, dtype=torch.uint8)
    if kind.endswith("fractions"):
        zero = (4 + 8 * torch.rand(scale.shape)).half().float()
    return LinearWeights("int4", levels[:, ::2] | levels[:, 1::2] << 4, scale, zero, bias)


def make_weights(shape: DecoderShape, kind: str = "float32", *, seed: int = 0) -> DecoderWeights:
    """Make what the shape asks for; embedding and head are dense."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dense = torch.float32 if kind == "float32" else torch.bfloat16
        embedding = torch.randn(shape.vocab_size, shape.hidden_size).to(dense)
        layers = tuple(_make_layer(shape, kind) for _ in shape.layers)
        head = make_linear(shape.vocab_size, shape.hidden_size, str(dense).split(".")[1])
        return DecoderWeights(embedding, layers, _make_norm(shape.hidden_size), head)


def _make_norm(width: int) -> Tensor:
    return torch.rand(width) + 0.5


def _make_layer(shape: DecoderShape, kind: str) -> LayerWeights:
    def make(part: str, has_bias: bool = False) -> LinearWeights:
        return make_linear(*count_part(shape, part), kind, has_bias=has_bias)

    has_bias = shape.family == "qwen2"
    parts: dict[str, Any] = {
        "attention_norm": _make_norm(shape.hidden_size),
        "query": make("query", has_bias),
        "key": make("key", has_bias),
        "value": make("value", has_bias),
        "output": make("output"),
        "ffn_norm": _make_norm(shape.hidden_size),
        "feed_forward": None,
    }
    if shape.has_query_key_norm:
        parts |= {name: _make_norm(shape.head_dim) for name in ("query_norm", "key_norm")}
    if shape.has_sandwich_norm:
        names = ("attention_post_norm", "ffn_post_norm")
        parts |= {name: _make_norm(shape.hidden_size) for name in names}
    if shape.num_experts:
        # A router is never quantized, and must not be so close that rounding changes its choice.
        dense = "float32" if kind == "float32" else "bfloat16"
        router = make_linear(shape.num_experts, shape.hidden_size, dense)
        parts["router"] = replace(router, weight=router.weight * 4)
        parts["experts"] = tuple(
            FeedForward(make("gate"), make("up"), make("down")) for _ in range(shape.num_experts)
        )
    else:
        parts["feed_forward"] = FeedForward(make("gate"), make("up"), make("down"))
    return LayerWeights(**parts)


def make_adapter(
    shape: DecoderShape, *, seed: int, rank: int = 5, parts: Sequence[str] = ("query", "down")
) -> dict[tuple[int, str], LoraPair]:
    draw = torch.Generator().manual_seed(seed)
    pairs = {}
    for layer in range(shape.num_layers):
        for part in parts:
            outputs, inputs = count_part(shape, part)
            a = torch.randn(rank, inputs, generator=draw) * inputs**-0.5
            b = torch.randn(outputs, rank, generator=draw) * 0.3
            pairs[layer, part] = LoraPair(a, b)
    return pairs


@dataclass
class Request:
    """A request as a block manager would hold it."""

    tokens: list[int]
    blocks: list[int]
    adapter: int = -1
    done: int = 0


def make_batch(parts: Sequence[tuple[Request, int]], *, all_rows: bool = True) -> StepBatch:
    """Batch the next so many tokens of each request; `done` moves on."""
    tokens, positions, starts, lengths, rows = [], [], [0], [], []
    for request, count in parts:
        chosen = range(request.done, request.done + count)
        tokens += [request.tokens[i] for i in chosen]
        positions += list(chosen)
        request.done += count
        starts.append(len(tokens))
        lengths.append(request.done)
        rows.append(len(tokens) - 1)
    width = max(len(request.blocks) for request, _ in parts)
    tables = [request.blocks + [-1] * (width - len(request.blocks)) for request, _ in parts]
    wanted = list(range(len(tokens))) if all_rows else rows

    def ints(values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.int32)

    return StepBatch(
        token_ids_N=ints(tokens),
        positions_N=ints(positions),
        query_starts_S1=ints(starts),
        context_lengths_S=ints(lengths),
        block_tables_SB=ints(tables),
        logits_rows_R=ints(wanted),
        adapters_S=ints([request.adapter for request, _ in parts]),
    )


def run_alone(
    decoder: Decoder,
    tokens: Sequence[int],
    blocks: Sequence[int],
    *,
    adapter: int = -1,
    chunks: Sequence[int] = (),
) -> Tensor:
    """Return all logits of one request, prefilled in the given chunks and then the rest."""
    request = Request(list(tokens), list(blocks), adapter)
    sizes = [*chunks, len(tokens) - sum(chunks)]
    return torch.cat([decoder.forward(make_batch([(request, size)])) for size in sizes if size])


def draw_tokens(count: int, *, seed: int = 0, vocab_size: int = 99) -> list[int]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab_size, (count,), generator=draw).tolist()
