"""Small model files: a real safetensors header over a handful of zeros, and a config to match."""

import json
import struct
from pathlib import Path

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}


def make_safetensors(shapes: dict[str, list[int]]) -> bytes:
    """Return a file with float32 tensors of these shapes, all zero."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


MODEL_FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": make_safetensors({"embed": [32, 8], "norm": [8]}),
    "tokenizer.json": b"{}",
}
ADAPTER_FILES = {
    "adapter_config.json": json.dumps({"base_model_name_or_path": "athanor/tiny", "r": 2}).encode(),
    "adapter_model.safetensors": make_safetensors({"lora_A": [2, 8], "lora_B": [8, 2]}),
    "athanor.json": json.dumps(
        {
            "kind": "adapter",
            "base": {"ref": "athanor/tiny", "repo": "athanor/tiny", "revision": "main"},
        }
    ).encode(),
}
