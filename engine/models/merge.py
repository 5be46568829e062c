"""Merges an adapter into its base and writes a folder that any loader of safetensors opens.

LoRA with what peft makes of it: rsLoRA, DoRA, trained embeddings. The update is computed and added
in float32 and rounded once, to the dtype of the base's files. A reward model's adapter makes one
that scores.
"""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModelForSequenceClassification

from engine.errors import EngineError
from engine.models.load import load_bare_tokenizer, open_model
from engine.status import Reason

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_SCORE = "score.weight"
_IMPORTS = ("megatron_config", "megatron_core")  # peft imports what these name


def merge_adapter(base: Path, adapter: Path, out: Path) -> None:
    """Write base + adapter into the folder `out`, the tokenizer with it.

    The folder appears when it is whole. Logits, or a reward model's scores, are those of base +
    adapter, to 1e-5 of the largest in float32; in bfloat16 to what rounding the weights anew
    changes, some 1e-2 of the largest.

    Raises:
        EngineError: bad_spec, when `out` is there already; bad_model, when base or adapter cannot
            be used, or not together.
    """
    if out.exists():
        raise EngineError(Reason.BAD_SPEC, f"out: {out} is there already; name a new folder.")
    config = _read_config(adapter)
    is_scorer = config.task_type == "SEQ_CLS"
    model = _open_scorer(base, adapter) if is_scorer else open_model(base, dtype="auto")
    merged = merge_weights(_attach(model, adapter, config))
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        merged.save_pretrained(draft)
        _copy_tokenizer(base, draft)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def merge_weights(model: PeftModel) -> Any:
    """Put an adapter into its base's weights, in place, and return the bare base.

    A tied embedding that the adapter changes on one side only is parted from the other first.
    """
    _untie_changed(model)
    with warnings.catch_warnings():
        # peft says that nothing is left to merge, layer by layer, as it should be
        warnings.filterwarnings("ignore", message="All adapters are already merged")
        for layer in list(model.modules()):
            if isinstance(layer, BaseTunerLayer) and hasattr(layer, "merge"):
                _merge_layer(layer)
        return model.merge_and_unload()


def _read_config(adapter: Path) -> LoraConfig:
    try:
        values = json.loads((adapter / _CONFIG).read_bytes())
        if not (adapter / _WEIGHTS).is_file():
            raise FileNotFoundError(f"no {_WEIGHTS}")
        if values.get("peft_type") != "LORA":
            raise ValueError(f"it is a {values.get('peft_type')}, not a LORA")
        if named := [name for name in _IMPORTS[:1] if values.get(name)]:
            raise ValueError(f"{named[0]} is set, which imports code")
        return LoraConfig.from_pretrained(str(adapter))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _bad(adapter, str(error)) from error


def _open_scorer(base: Path, adapter: Path) -> Any:
    """Open a base as a model that scores, with as many scores as the adapter has."""
    try:
        with safe_open(adapter / _WEIGHTS, "pt") as stored:
            named = [name for name in stored.keys() if name.endswith(_SCORE)]  # noqa: SIM118
            num_scores = stored.get_slice(named[0]).get_shape()[0] if named else 0
        if not num_scores:
            raise ValueError(f"it is to score, and {_WEIGHTS} has no {_SCORE}")
        return AutoModelForSequenceClassification.from_pretrained(
            base,
            num_labels=num_scores,
            dtype="auto",
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise _bad(adapter, str(error).strip().splitlines()[0]) from error


def _attach(model: Any, adapter: Path, config: LoraConfig) -> PeftModel:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            attached = PeftModel.from_pretrained(model, str(adapter), config=config)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _bad(adapter, " ".join(line.strip() for line in lines[:2])) from error
    if missing := [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]:
        raise _bad(adapter, missing[0][:200])
    return attached


def _merge_layer(layer: Any) -> None:
    """Merge one layer in float32 and round the sum to the dtype that it had."""
    weight = layer.get_base_layer().weight
    dtype = weight.dtype
    weight.data = weight.data.float()
    layer.merge()
    weight = layer.get_base_layer().weight
    weight.data = weight.data.to(dtype)


def _untie_changed(model: PeftModel) -> None:
    base = model.get_base_model()
    if not base.config.tie_word_embeddings or base.get_output_embeddings() is None:
        return
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    if not any(_is_adapted(end) for end in ends) or _are_trained_as_one(model, ends):
        return
    head = ends[1].get_base_layer() if isinstance(ends[1], BaseTunerLayer) else ends[1]
    for module in [m for m in head.modules() if isinstance(m, nn.Linear)]:
        if module.weight.shape == _plain_weight(ends[0]).shape:
            module.weight = nn.Parameter(module.weight.detach().clone(), requires_grad=False)
    base.config.tie_word_embeddings = False
    base.all_tied_weights_keys = {}


def _are_trained_as_one(model: PeftModel, ends: list[Any]) -> bool:
    """Say whether the adapter holds one trained weight for both ends."""
    whole = all(hasattr(end, "modules_to_save") for end in ends)
    return whole and bool(model.active_peft_config.ensure_weight_tying)


def _is_adapted(module: nn.Module) -> bool:
    return isinstance(module, BaseTunerLayer) or hasattr(module, "modules_to_save")


def _plain_weight(module: Any) -> torch.Tensor:
    if isinstance(module, BaseTunerLayer):
        module = module.get_base_layer()
    return getattr(module, "original_module", module).weight


def _copy_tokenizer(base: Path, out: Path) -> None:
    try:
        load_bare_tokenizer(base).save_pretrained(out)
    except EngineError:  # a folder of weights alone
        if any(base.glob("token*")):
            raise


def _bad(adapter: Path, what: str) -> EngineError:
    message = f"adapter: {adapter.name} cannot be merged: {what.rstrip('.')}."
    return EngineError(Reason.BAD_MODEL, message)
