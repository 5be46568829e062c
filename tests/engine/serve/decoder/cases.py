"""Tiny random models of every served family, and batches to run them with."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
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
SEEING = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
IMAGE_IDS = {"mm_tokens_per_image": 4, "image_token_id": 98, "boi_token_id": 97, "eoi_token_id": 96}
LINEAR = {"rope_type": "linear", "factor": 8.0}  # of the whole Gemma 3, on layers without a window
GEMMA3 = {"head_dim": 24, "sliding_window": 6, "layer_types": KINDS, "query_pre_attn_scalar": 20}
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
    "gemma3": (Gemma3TextConfig, GEMMA3),
    "gemma3-whole": (Gemma3Config, {**GEMMA3, "rope_scaling": LINEAR}),
    "gemma3-whole-5": (Gemma3Config, {**GEMMA3, "tie_word_embeddings": False}),
    "mistral": (MistralConfig, {"sliding_window": 6}),
    "mixtral": (MixtralConfig, {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "internlm2": (None, {"num_hidden_layers": 3, "bias": True}),
}


def make_case(name: str, *, seed: int = 0, **changes):
    """Make transformers' model; its norms and biases are no ones and zeros."""
    kind, given = CASES[name]
    if kind is None:
        return make_family(name, seed=seed, vocab_size=VOCAB, **given, **changes)
    settings = {**SHAPE, **given, **changes}
    if kind is Gemma3Config:
        is_tied = settings.get("tie_word_embeddings", True)
        settings = {"text_config": settings, "vision_config": SEEING, **IMAGE_IDS}
        settings |= {"tie_word_embeddings": is_tied, "initializer_range": 0.2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(kind(**settings), dtype=torch.float32).eval()
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def save_case(folder: Path, name: str, **changes) -> Path:
    """Save a case as it is published."""
    make_case(name, **changes).save_pretrained(folder)
    if name == "gemma3-whole":
        _write_published_config(folder)
    elif name == "gemma3-whole-5":
        _name_by_modules(folder)
    return folder


def _write_published_config(folder: Path) -> None:
    """Say the ropes and layers as the published files of Gemma 3 do."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    text = config["text_config"]
    ropes = text.pop("rope_parameters")
    text["rope_theta"] = ropes["full_attention"].pop("rope_theta")
    text["rope_local_base_freq"] = ropes["sliding_attention"]["rope_theta"]
    text["rope_scaling"] = ropes["full_attention"]
    path.write_text(json.dumps(config))


def _name_by_modules(folder: Path) -> None:
    """Name tensors as transformers 5 calls its modules; it reads both, and writes the others."""
    path = folder / "model.safetensors"
    tensors = {}
    for name, tensor in load_file(path).items():
        name = name.replace("language_model.model.", "model.language_model.")
        name = name.replace("language_model.lm_head", "lm_head")
        is_seeing = name.startswith(("vision_tower", "multi_modal_projector"))
        tensors[f"model.{name}" if is_seeing else name] = tensor
    save_file(tensors, path, metadata={"format": "pt"})


def draw_ids(count: int, *, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCAB, (count,), generator=generator).tolist()


class Request:
    """A sequence with blocks of its own, of which some tokens are in the pool."""

    def __init__(self, ids: list[int], blocks: list[int], adapter: int = -1) -> None:
        self.ids, self.blocks, self.adapter = ids, blocks, adapter
        self.num_done = 0


def run_step(
    decoder, turns: list[tuple[Request, int]], *, embed: bool = False, is_unread: bool = False
) -> list:
    """Take the next tokens of requests in one pass; return the rows of each, all of them.

    Unread tokens lie on the decoder's device, and the batch says nothing of them.
    """
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
        token_ids_N=as_int([0] * len(ids) if is_unread else ids),
        positions_N=as_int(positions),
        query_starts_S1=as_int(starts),
        context_lengths_S=as_int([request.num_done for request, _ in turns]),
        block_tables_SB=as_int(tables),
        logits_rows_R=as_int(range(len(ids))),
        adapters_S=as_int([request.adapter for request, _ in turns]),
        unread_ids_N=torch.tensor(ids) if is_unread else None,
    )
    rows = decoder.embed(batch) if embed else decoder.forward(batch)
    return [rows[start:end] for start, end in zip(starts, starts[1:], strict=False)]


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest number."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()
