"""Writes a quantized model's folder: layers as they are done, in shards, then all beside them."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from engine.errors import EngineError
from engine.models.load import load_bare_tokenizer
from engine.serve.decoder.seeing import SEEING_FAMILIES, take_text_config

SHARD_BYTES = 2**30
_BESIDE = ("generation_config.json",)


class CheckpointWriter:
    """Collects tensors and writes a shard when enough are there."""

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._waiting: dict[str, Tensor] = {}
        self._size = 0
        self._shards: list[list[str]] = []
        self.num_bytes = 0
        """Bytes of all tensors."""

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a tensor; its memory may be used again once it is written."""
        size = tensor.numel() * tensor.element_size()
        if self._waiting and self._size + size > self._shard_bytes:
            self._flush()
        self._waiting[name] = tensor.detach().to("cpu").contiguous()
        self._size += size
        self.num_bytes += size

    def close(self) -> None:
        """Write what is left, and the index where there are several shards."""
        self._flush()
        count = len(self._shards)
        if count == 1:
            self._draft(0).rename(self._folder / "model.safetensors")
            return
        names = [f"model-{place + 1:05d}-of-{count:05d}.safetensors" for place in range(count)]
        for place, name in enumerate(names):
            self._draft(place).rename(self._folder / name)
        index = {
            "metadata": {"total_size": self.num_bytes},
            "weight_map": {
                tensor: name
                for name, tensors in zip(names, self._shards, strict=True)
                for tensor in tensors
            },
        }
        text = json.dumps(index, indent=2, sort_keys=True)
        (self._folder / "model.safetensors.index.json").write_text(text)

    def _flush(self) -> None:
        if not self._waiting:
            return
        save_file(self._waiting, self._draft(len(self._shards)), metadata={"format": "pt"})
        self._shards.append(list(self._waiting))
        self._waiting, self._size = {}, 0

    def _draft(self, place: int) -> Path:
        return self._folder / f"shard-{place}.safetensors"


def write_beside(base: Path, folder: Path, *, config: dict[str, Any], dtype: torch.dtype) -> None:
    """Write config, generation config and tokenizer; `config` is the `quantization_config`."""
    told = _read_config(base)
    told.pop("auto_map", None)  # names code that does not come along
    told.pop("torch_dtype", None)
    told |= {"dtype": str(dtype).removeprefix("torch."), "quantization_config": config}
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    for name in _BESIDE:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    try:
        load_bare_tokenizer(base).save_pretrained(folder)
    except EngineError:  # a folder of weights alone
        if any(base.glob("token*")):
            raise


def _read_config(base: Path) -> dict[str, Any]:
    """Return what the artifact's config.json says: of a model that sees, its text part alone."""
    told: dict[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if told.get("model_type") not in SEEING_FAMILIES:
        return told
    text = take_text_config(AutoConfig.from_pretrained(base, trust_remote_code=False))
    made = AutoModelForCausalLM._model_mapping[type(text)]
    written: dict[str, Any] = text.to_dict() | {"architectures": [made.__name__]}
    return written
