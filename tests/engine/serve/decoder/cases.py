"""Tiny random models of every served family, and batches to run them with."""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen3Config,
)

from engine.models.tiny import make_family
from engine.serve.decoder.step import StepBatch

VOCAB = 99
BLOCK = 4
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 1e4,
    "original_max_position_embeddings": 64,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "rope_theta": 1e4,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
CASES = {
    "llama": (LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "llama-llama3": (LlamaConfig, {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-yarn": (LlamaConfig, {"rope_parameters": YARN, "num_key_value_heads": 4}),
    "llama-linear": (
        LlamaConfig,
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    ),
    "llama-dynamic": (
        LlamaConfig,
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
    ),
    "qwen2": (Qwen2Config, {}),
    "qwen2-window": (
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "qwen3": (Qwen3Config, {"head_dim": 32}),
    "gemma3": (
        Gemma3TextConfig,
        {"head_dim": 24, "sliding_window": 6, "layer_types": KINDS, "query_pre_attn_scalar": 20},
    ),
    "mistral": (MistralConfig, {"sliding_window": 6}),
    "mixtral": (MixtralConfig, {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "internlm2": (None, {"num_hidden_layers": 3, "bias": True}),
}


def make_case(name: str, *, seed: int = 0, **changes):
    """Make transformers' model; its norms and biases are no ones and zeros."""
    config, given = CASES[name]
    if config is None:
        return make_family(name, seed=seed, vocab_size=VOCAB, **given, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        settings = {**SHAPE, **given, **changes}
        model = AutoModelForCausalLM.from_config(config(**settings), dtype=torch.float32).eval()
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def save_case(folder: Path, name: str, **changes) -> Path:
    make_case(name, **changes).save_pretrained(folder)
    return folder


def draw_ids(count: int, *, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCAB, (count,), generator=generator).tolist()


class Request:
    """A sequence with blocks of its own, of which some tokens are in the pool."""

    def __init__(self, ids: list[int], blocks: list[int], adapter: int = -1) -> None:
        self.ids, self.blocks, self.adapter = ids, blocks, adapter
        self.num_done = 0


def run_step(decoder, turns: list[tuple[Request, int]], *, embed: bool = False) -> list:
    """Take the next tokens of requests in one pass; return the rows of each, all of them."""
    ids, positions, starts, rows = [], [], [0], []
    for request, count in turns:
        first = request.num_done
        ids += request.ids[first : first + count]
        positions += range(first, first + count)
        starts.append(len(ids))
        request.num_done += count
    widest = max(len(request.blocks) for request, _ in turns)
    tables = [request.blocks + [-1] * (widest - len(request.blocks)) for request, _ in turns]

    def as_int(values):
        return torch.tensor(values, dtype=torch.int32)

    batch = StepBatch(
        token_ids_N=as_int(ids),
        positions_N=as_int(positions),
        query_starts_S1=as_int(starts),
        context_lengths_S=as_int([request.num_done for request, _ in turns]),
        block_tables_SB=as_int(tables),
        logits_rows_R=as_int(range(len(ids))),
        adapters_S=as_int([request.adapter for request, _ in turns]),
    )
    rows = decoder.embed(batch) if embed else decoder.forward(batch)
    return [rows[start:end] for start, end in zip(starts, starts[1:], strict=False)]


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest number."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()
