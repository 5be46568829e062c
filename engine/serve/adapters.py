"""The adapters beside one base model: which are there, and which one the next forward pass uses.

Which adapter is active is a state of the whole model (peft works so): `AdapterRack` belongs to the
one thread that decodes. Only reading an adapter's files may happen elsewhere.
"""

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.errors import EngineError
from engine.status import Reason

# Settings of a LoRA that shape the low-rank update, which is all that may be loaded.
_TAKEN = ("r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern")
# Settings that mean nothing once an adapter is trained.
_PASSED_OVER = frozenset(
    {"peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode"}
    | {"auto_mapping", "peft_version", "lora_dropout", "init_lora_weights", *_TAKEN}
)
_MAX_RANK = 512  # twice what a TrainSpec takes
_PLAIN_NAME = re.compile(r"^[\w.]{1,200}$")


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter as read from its folder: low-rank weights and nothing else."""

    config: LoraConfig
    weights: dict[str, Tensor]

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
        config = json.loads((folder / "adapter_config.json").read_bytes())
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise _bad(
            f"{folder.name} needs adapter_config.json and adapter_model.safetensors ({error})"
        ) from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise _bad("adapter_config.json does not say peft_type LORA")
    return AdapterFiles(config=_take_config(config), weights=weights)


class AdapterRack:
    """A base model and its adapters. One thread only."""

    def __init__(self, base: Any) -> None:
        self._base = base
        self._linear_names = {
            name.rpartition(".")[2]
            for name, module in base.named_modules()
            if isinstance(module, torch.nn.Linear)
        }
        self._peft: PeftModel | None = None
        self._active: str | None = None
        self._is_settled = True  # False while a change of the active adapter is half done

    def add(self, key: str, files: AdapterFiles) -> None:
        """Put an adapter beside the base, in float32, under a key that was never used before.

        Raises:
            EngineError: bad_model, when it does not fit the base; nothing was changed.
        """
        self._check_targets(files.config)
        peft = self._attach(key, files.config)
        try:
            wanted = get_peft_model_state_dict(peft, adapter_name=key, save_embedding_layers=False)
            _check_weights(files.weights, wanted)
            set_peft_model_state_dict(peft, files.weights, adapter_name=key)
        except EngineError:
            peft.delete_adapter(key)
            raise
        finally:
            self._rest(peft)

    def remove(self, key: str) -> None:
        """Take an adapter away and free its memory."""
        assert self._peft is not None
        self._peft.delete_adapter(key)
        self._rest(self._peft)

    def use(self, key: str | None) -> Any:
        """Make an adapter, or with None the bare base, answer the next forward pass.

        Returns the model to call.
        """
        if self._peft is None or (self._is_settled and key == self._active):
            return self._base
        self._is_settled = False
        if key is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(key, inference_mode=True)
        self._active, self._is_settled = key, True
        return self._base

    def _check_targets(self, config: LoraConfig) -> None:
        if missing := sorted(set(config.target_modules) - self._linear_names):
            raise _bad(f"this base has no linear layer named {', '.join(missing)}")

    def _attach(self, key: str, config: LoraConfig) -> PeftModel:
        if self._peft is None:
            self._peft = PeftModel(self._base, config, key)
        else:
            self._peft.add_adapter(key, config)
        self._peft.requires_grad_(False).eval()
        return self._peft

    def _rest(self, peft: PeftModel) -> None:
        self._is_settled = False
        peft.base_model.disable_adapter_layers()
        self._active, self._is_settled = None, True


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


def _check_weights(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Prove that a file fills the adapter's own weights, all of them, and touches no others."""
    if odd := sorted(weights.keys() ^ wanted.keys()):
        what = "an unknown" if odd[0] in weights else "no"
        raise _bad(f"adapter_model.safetensors has {what} weight {odd[0]}")
    for key, tensor in weights.items():
        if tensor.shape != wanted[key].shape:
            shapes = f"{tuple(tensor.shape)}, this base wants {tuple(wanted[key].shape)}"
            raise _bad(f"{key} has the shape {shapes}: it was trained on another base")


def _bad(what: str) -> EngineError:
    return EngineError(Reason.BAD_MODEL, f"The adapter cannot be used: {what}.")
