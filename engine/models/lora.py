"""Low-rank adapters through peft: for training, in float32 on a frozen base of any precision."""

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import EMBEDDING_LAYER_NAMES

from engine.errors import EngineError
from engine.models.fused_lora import FusedLoraLinear
from engine.specs import LoraOptions
from engine.status import Reason

AUTO = "auto"
"""As the only name in `target_modules`: all linear layers of the model's blocks."""
_ROUTERS = frozenset({"gate", "router"})


def add_adapter(base: Any, options: LoraOptions, *, seed: int, has_head: bool = True) -> PeftModel:
    """Put a fresh adapter on a frozen base; only the adapter is trainable. Changes `base` in place.

    Initialised from `seed` alone: A Kaiming-uniform, B zero (arXiv 2106.09685, section 4.1). With
    `train_embeddings` the embeddings are trained whole, as a copy, and so is the head, which stays
    the same weight where the model ties the two; without `has_head` nothing reads the head.

    Raises:
        EngineError: bad_spec, when the model has no layer of a name in `target_modules`, or ties
            embeddings to a head that peft cannot tie.
    """
    config = make_config(base, options, has_head=has_head)
    config._register_custom_module({torch.nn.Linear: FusedLoraLinear})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(base, config, autocast_adapter_dtype=True)
    for parameter in list_trainable(model):
        parameter.data = parameter.data.float()
    return model


def make_config(base: Any, options: LoraOptions, *, has_head: bool = True) -> LoraConfig:
    """Return what peft calls these options, for the layers of this model.

    Raises:
        EngineError: bad_spec, when the model has no layer of a name in `target_modules`, or ties
            embeddings to a head that peft cannot tie.
    """
    whole = _list_whole(base, has_head=has_head) if options.train_embeddings else ()
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(choose_targets(base, options.target_modules)),
        use_rslora=options.variant == "rslora",
        use_dora=options.variant == "dora",
        bias="none",
        modules_to_save=list(whole) or None,
        ensure_weight_tying=bool(whole) and has_head and bool(base.config.tie_word_embeddings),
    )


def _list_whole(base: Any, *, has_head: bool) -> tuple[str, ...]:
    """Return the names of embeddings and head, as peft takes them; of tied ones the first alone."""
    names = {id(module): name.rpartition(".")[2] for name, module in base.named_modules()}
    embedding = names[id(base.get_input_embeddings())]
    if not has_head:
        return (embedding,)
    if not base.config.tie_word_embeddings:
        return embedding, names[id(base.get_output_embeddings())]
    if embedding not in EMBEDDING_LAYER_NAMES:
        raise EngineError(
            Reason.BAD_SPEC,
            f"lora.train_embeddings: the model ties {embedding} to its head, which peft cannot do "
            "under that name: leave it out, or set method to full.",
        )
    return (embedding,)


def list_trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters that training changes, in the model's own order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def default_targets(model: Any) -> tuple[str, ...]:
    """Return the names of the linear layers inside the decoder's blocks, as the model has them.

    Fused projections go by their own names: `wqkv, wo, w1, w3, w2` for InternLM2. The head is not
    among them, nor what routes tokens to experts.
    """
    head = model.get_output_embeddings()
    found = [
        name.rpartition(".")[2]
        for name, module in model.get_decoder().named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    return tuple(dict.fromkeys(name for name in found if name not in _ROUTERS))


def choose_targets(model: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the layers to adapt: `names`, or the model's own for `auto` or untouched defaults.

    The defaults of a spec are Llama's names: of a model that has others, all its layers are meant.

    Raises:
        EngineError: bad_spec, when a name that somebody chose is not in the model.
    """
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    missing = [name for name in names if name not in linear]
    is_default = names == tuple(LoraOptions().target_modules)
    if names == (AUTO,) or (missing and is_default):
        return default_targets(model)
    if missing:
        raise EngineError(
            Reason.BAD_SPEC,
            f"lora.target_modules: the model has no linear layer named {', '.join(missing)}; "
            f"it has {', '.join(sorted(linear))}.",
        )
    return names
