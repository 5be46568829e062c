"""Low-rank adapters through peft: for training, in float32 on a frozen base of any precision."""

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from engine.errors import EngineError
from engine.specs import LoraOptions
from engine.status import Reason


def add_adapter(base: Any, options: LoraOptions, *, seed: int) -> PeftModel:
    """Put a fresh adapter on a frozen base; only the adapter is trainable. Changes `base` in place.

    Initialised from `seed` alone: A Kaiming-uniform, B zero (arXiv 2106.09685, section 4.1).

    Raises:
        EngineError: bad_spec, when the model has no layer of a name in `target_modules`.
    """
    _check_targets(base, options.target_modules)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(options.target_modules),
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(base, config, autocast_adapter_dtype=True)
    for parameter in list_trainable(model):
        parameter.data = parameter.data.float()
    return model


def list_trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters that training changes, in the model's own order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _check_targets(base: Any, names: tuple[str, ...]) -> None:
    linear = {
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    if missing := [name for name in names if name not in linear]:
        raise EngineError(
            Reason.BAD_SPEC,
            f"lora.target_modules: the model has no linear layer named {', '.join(missing)}; "
            f"it has {', '.join(sorted(linear))}.",
        )
