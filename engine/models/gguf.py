"""Import a GGUF file of the llama family as a plain safetensors folder, dequantized once.

Not a GGUF runtime: transformers refuses to save a model that it loaded from GGUF, so the weights
are copied into a fresh model of the same shape. The `gguf` package reads and dequantizes.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

OnProgress = Callable[[str, int, int], None]
"""Called with what is done (`tokenizer`, `weights`, `save`), how much of it, and of how much."""

_TURN_END = "<|im_end|>"  # ChatML's end of a turn
_QUANT_SUFFIX = re.compile(r"[.\-](I?Q\d\w*|F16|F32|BF16)$", re.IGNORECASE)


def import_gguf(source: Path, target: Path, on_progress: OnProgress | None = None) -> None:
    """Write `source` into the folder `target`: config, tokenizer, bfloat16 safetensors and a card.

    The end-of-turn token becomes the end and padding token of tokenizer, config and generation
    config: without it a chat model never stops.

    Raises:
        ValueError: the file is no GGUF, or of an architecture that we cannot read.
    """
    report = on_progress or (lambda stage, done, total: None)
    reader = _open_reader(source)
    target.mkdir(parents=True, exist_ok=True)
    report("tokenizer", 0, 1)
    tokenizer = _read_tokenizer(source, reader)
    tokenizer.save_pretrained(target)
    report("tokenizer", 1, 1)
    model = _build_model(reader, tokenizer.eos_token_id)
    state = model.state_dict()
    pairs = list(_pair_tensors(reader, [name for name in state if name not in _tied_names(model)]))
    with torch.no_grad():
        for index, (name, tensor) in enumerate(pairs):
            state[name].copy_(_dequantize(tensor, name, model.config))
            report("weights", index + 1, len(pairs))
    report("save", 0, 1)
    model.save_pretrained(target)
    (target / "README.md").write_text(_write_card(source, reader), encoding="utf-8")
    report("save", 1, 1)


def _open_reader(source: Path) -> gguf.GGUFReader:
    if not source.is_file():
        raise ValueError(f"{source}: no such file; give the path of a .gguf file")
    try:
        reader = gguf.GGUFReader(source)
    except ValueError as error:
        raise ValueError(f"{source} is no GGUF file: {error}") from error
    architecture = _get_field(reader, "general.architecture")
    if architecture != "llama":
        raise ValueError(
            f"{source} holds a {architecture} model; only the llama architecture can be imported"
        )
    return reader


def _get_field(reader: gguf.GGUFReader, name: str) -> Any:
    field = reader.get_field(name)
    return field.contents() if field else None


def _read_tokenizer(source: Path, reader: gguf.GGUFReader) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if _get_field(reader, "tokenizer.ggml.pre") == "smollm":
        # transformers drops this: numbers are cut into digits before bytes are merged.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    if _TURN_END in (tokenizer.chat_template or ""):
        tokenizer.eos_token = tokenizer.pad_token = _TURN_END
    tokenizer.model_max_length = _get_field(reader, "llama.context_length")
    return tokenizer


def _build_model(reader: gguf.GGUFReader, end_token_id: int) -> Any:
    config = LlamaConfig(
        vocab_size=_get_field(reader, "llama.vocab_size"),
        hidden_size=_get_field(reader, "llama.embedding_length"),
        intermediate_size=_get_field(reader, "llama.feed_forward_length"),
        num_hidden_layers=_get_field(reader, "llama.block_count"),
        num_attention_heads=_get_field(reader, "llama.attention.head_count"),
        num_key_value_heads=_get_field(reader, "llama.attention.head_count_kv"),
        head_dim=_get_field(reader, "llama.attention.key_length"),
        max_position_embeddings=_get_field(reader, "llama.context_length"),
        rms_norm_eps=round(_get_field(reader, "llama.attention.layer_norm_rms_epsilon"), 9),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": _get_field(reader, "llama.rope.freq_base") or 10_000.0,
        },
        tie_word_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
        bos_token_id=_get_field(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=end_token_id,
        pad_token_id=end_token_id,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end_token_id
    return model


def _tied_names(model: Any) -> set[str]:
    return {"lm_head.weight"} if model.config.tie_word_embeddings else set()


def _pair_tensors(
    reader: gguf.GGUFReader, names: list[str]
) -> Iterator[tuple[str, gguf.ReaderTensor]]:
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    num_blocks = _get_field(reader, "llama.block_count")
    to_gguf = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, num_blocks)
    for name in names:
        gguf_name = to_gguf.get_name(name, try_suffixes=(".weight", ".bias"))
        if gguf_name not in tensors:
            raise ValueError(f"the GGUF file has no tensor for {name}: it is incomplete")
        yield name, tensors.pop(gguf_name)
    if tensors:
        raise ValueError(f"the GGUF file has tensors that we cannot place: {', '.join(tensors)}")


def _dequantize(tensor: gguf.ReaderTensor, name: str, config: Any) -> Tensor:
    values = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
    if ".q_proj." in name:
        return _unpermute(values, config.num_attention_heads)
    if ".k_proj." in name:
        return _unpermute(values, config.num_key_value_heads)
    return values


def _unpermute(values: Tensor, num_heads: int) -> Tensor:
    """Undo GGUF's row order: a rotated pair lies side by side there, half a head apart here."""
    half = values.shape[0] // num_heads // 2
    return values.view(num_heads, half, 2, *values.shape[1:]).transpose(1, 2).reshape(values.shape)


def _write_card(source: Path, reader: gguf.GGUFReader) -> str:
    title = _QUANT_SUFFIX.sub("", source.stem)
    organization = _get_field(reader, "general.organization")
    metadata = {
        "license": _get_field(reader, "general.license"),
        "base_model": f"{organization}/{title}" if organization else None,
        "language": _get_field(reader, "general.languages"),
    }
    lines = [f"{key}: {_as_yaml(value)}" for key, value in metadata.items() if value]
    lines += ["library_name: transformers", "pipeline_tag: text-generation", "tags: [gguf-import]"]
    return "\n".join(
        [
            "---",
            *lines,
            f"source: {source.name}",
            "---",
            "",
            f"# {title}",
            "",
            f"Imported by Athanor from `{source.name}` and dequantized to bfloat16 safetensors:",
            "it knows what the quantized file knew. The end-of-turn token ends a generation.",
            "",
        ]
    )


def _as_yaml(value: Any) -> str:
    return "[" + ", ".join(value) + "]" if isinstance(value, list) else str(value)
