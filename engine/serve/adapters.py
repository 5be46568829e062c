"""Reads an adapter's files: plain LoRA in safetensors, and nothing that would touch the base.

`decoder.lora` fits what was read to a model's layers.
"""

import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from engine.errors import EngineError
from engine.status import Reason

# Settings of a LoRA that shape the low-rank update, which is all that may be loaded.
_TAKEN = ("r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern")
# Settings that mean nothing once an adapter is trained; `fan_in_fan_out` says how weights of the
# base lie (GPT-2's), and the adapter's own lie the same either way.
_PASSED_OVER = frozenset(
    {"peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode"}
    | {"auto_mapping", "peft_version", "lora_dropout", "init_lora_weights"}
    | {"fan_in_fan_out", *_TAKEN}
)
_MAX_RANK = 512  # twice what a TrainSpec takes
_PLAIN_NAME = re.compile(r"^[\w.]{1,200}$")


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter as read from its folder: low-rank weights and nothing else."""

    config: LoraConfig
    weights: dict[str, Tensor]
    digest: str
    """SHA-256 of both files' bytes."""

    @property
    def size_bytes(self) -> int:
        """Memory that it takes beside the base, in float32."""
        return sum(4 * weight.numel() for weight in self.weights.values())


def read_adapter(folder: Path) -> AdapterFiles:
    """Read a peft folder.

    Settings are taken one by one: some that peft knows (PiSSA, saved modules, biases) would change
    the base model under everybody else's requests.

    Raises:
        EngineError: bad_model, when it is no LoRA in safetensors, or is more than one.
    """
    try:
        config_bytes = (folder / "adapter_config.json").read_bytes()
        weights_bytes = (folder / "adapter_model.safetensors").read_bytes()
        config, weights = json.loads(config_bytes), load(weights_bytes)
    except (OSError, ValueError, SafetensorError) as error:
        raise _bad(
            f"{folder.name} needs adapter_config.json and adapter_model.safetensors ({error})"
        ) from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise _bad("adapter_config.json does not say peft_type LORA")
    digest = hashlib.sha256(hashlib.sha256(config_bytes).digest() + weights_bytes).hexdigest()
    return AdapterFiles(config=_take_config(config), weights=weights, digest=digest)


def _take_config(config: dict[str, Any]) -> LoraConfig:
    usual = {field.name: getattr(LoraConfig(), field.name) for field in fields(LoraConfig)}
    for name, value in config.items():
        if name not in _PASSED_OVER and value and value != usual.get(name):
            raise _bad(
                f"adapter_config.json sets {name}; only plain LoRA can be served, so put it into "
                "its base with `python -m engine merge`"
            )
    targets = config.get("target_modules")
    if not isinstance(targets, list) or not targets or not all(map(_is_plain, targets)):
        raise _bad("target_modules in adapter_config.json must be a list of layer names")
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and 1 <= rank <= _MAX_RANK for rank in ranks):
        raise _bad(f"r in adapter_config.json must be a whole number from 1 to {_MAX_RANK}")
    alphas = [config.get("lora_alpha"), *(config.get("alpha_pattern") or {}).values()]
    if not all(isinstance(alpha, int | float) for alpha in alphas):
        raise _bad("lora_alpha in adapter_config.json must be a number")
    if not all(map(_is_plain, [*_keys(config, "rank_pattern"), *_keys(config, "alpha_pattern")])):
        raise _bad("rank_pattern and alpha_pattern must name layers, without wildcards")
    return LoraConfig(**{name: config[name] for name in _TAKEN if config.get(name)})


def _keys(config: dict[str, Any], name: str) -> list[str]:
    return list(config.get(name) or {})


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and _PLAIN_NAME.match(name) is not None


def _bad(what: str) -> EngineError:
    return EngineError(Reason.BAD_MODEL, f"The adapter cannot be used: {what}.")
