"""A GGUF file of the llama family: as a plain safetensors folder, or as it is behind a description.

An import is dequantized once. transformers refuses to save a model that it loaded from GGUF, so the
weights are copied into a fresh model of the same shape.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from engine.models.gguf_file import GgufFile

OnProgress = Callable[[str, int, int], None]
"""Called with what is done (`tokenizer`, `weights`, `save`), how much of it, and of how much."""

GGUF_NAME = "model.gguf"
"""What `describe_gguf` calls the file in the folder that it writes."""
_QUANT_SUFFIX = re.compile(r"[.\-](I?Q\d\w*|F16|F32|BF16)$", re.IGNORECASE)


def import_gguf(source: Path, target: Path, on_progress: OnProgress | None = None) -> None:
    """Write `source` into the folder `target`: config, tokenizer, bfloat16 safetensors and a card.

    The end-of-turn token becomes the end and padding token of tokenizer, config and generation
    config: without it a chat model never stops.

    Raises:
        ValueError: the file is no GGUF, or of an architecture that we cannot read.
    """
    report = on_progress or (lambda stage, done, total: None)
    file = GgufFile(source)
    target.mkdir(parents=True, exist_ok=True)
    report("tokenizer", 0, 1)
    tokenizer = file.read_tokenizer()
    tokenizer.save_pretrained(target)
    report("tokenizer", 1, 1)
    model = _build_model(file, tokenizer.eos_token_id)
    state = model.state_dict()
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    names = [name for name in state if name not in tied]
    with torch.no_grad():
        for index, name in enumerate(names):
            state[name].copy_(file.read(name))
            report("weights", index + 1, len(names))
    if left := file.list_unread():
        raise ValueError(f"the GGUF file has tensors that we cannot place: {', '.join(left)}")
    report("save", 0, 1)
    model.save_pretrained(target)
    (target / "README.md").write_text(_write_card(source, file), encoding="utf-8")
    report("save", 1, 1)


def find_gguf(path: Path) -> Path | None:
    """Return the GGUF file that a model's path is or that its folder holds instead of safetensors.

    Raises:
        ValueError: the folder holds several of them.
    """
    if path.is_file():
        return path if path.suffix == ".gguf" else None
    if (path / "config.json").exists() or any(path.glob("*.safetensors")):
        return None
    found = sorted(path.glob("*.gguf"))
    if found[1:]:
        names = ", ".join(each.name for each in found)
        raise ValueError(f"{path.name} has several GGUF files ({names}); give the path of one")
    return found[0] if found else None


def describe_gguf(source: Path, target: Path) -> None:
    """Write what a server wants beside the weights into the folder `target`, and link them there.

    Raises:
        ValueError: the file is no GGUF, or of an architecture that we cannot read.
    """
    file = GgufFile(source)
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = file.read_tokenizer()
    tokenizer.save_pretrained(target)
    end_id = tokenizer.eos_token_id
    config = file.make_config(end_id).to_dict()
    config |= {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": {"quant_method": "gguf"},
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    GenerationConfig(eos_token_id=end_id, pad_token_id=end_id).save_pretrained(target)
    link = target / GGUF_NAME
    link.unlink(missing_ok=True)
    link.symlink_to(source.resolve())


def _build_model(file: GgufFile, end_token_id: int) -> Any:
    model = AutoModelForCausalLM.from_config(file.make_config(end_token_id), dtype=torch.bfloat16)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end_token_id
    return model


def _write_card(source: Path, file: GgufFile) -> str:
    title = _QUANT_SUFFIX.sub("", source.stem)
    organization = file.get_field("general.organization")
    metadata = {
        "license": file.get_field("general.license"),
        "base_model": f"{organization}/{title}" if organization else None,
        "language": file.get_field("general.languages"),
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
