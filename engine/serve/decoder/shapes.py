"""From a config.json to a `DecoderShape`. An option that the decoder does not follow is refused.

transformers' config classes fill in what a file leaves out and know the older names; its functions
compute the scaled frequencies. None of its modules is built.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from engine.models.families import register_models
from engine.serve.decoder.checkpoint import bad_model
from engine.serve.decoder.seeing import SEEING_FAMILIES, take_text_config
from engine.serve.decoder.shape import DecoderShape, LayerShape, RopeShape

FAMILIES = ("llama", "qwen2", "qwen3", "gemma3_text", "gemma3", "mistral", "mixtral", "internlm2")
# Those of transformers that need nothing but the position; `dynamic` changes nothing in its window,
# and further the model is not served: a key would have to be turned again as its request grows.
_ROPE_KINDS = ("default", "linear", "dynamic", "yarn", "llama3")
_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
_MOST_LAYERS = 1000  # a number in a file, of which we make values before a tensor proves it
_FULL, _SLIDING = "full_attention", "sliding_attention"
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)
# What transformers' config classes raise over values they did not expect.
_UNUSABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    StrictDataclassError,
)
# What would change the numbers, and is no part of the decoder.
_UNKNOWN = ("attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention")


def read_family(folder: Path) -> object:
    """Return the `model_type` in a model folder's config.json; None, if it says none.

    Raises:
        EngineError: bad_model, when it cannot be read.
    """
    try:
        return json.loads((folder / "config.json").read_bytes()).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise bad_model(folder, f"its config.json cannot be read ({error})") from error


def read_config(folder: Path) -> Any:
    """Return transformers' config of a model folder; of a model that sees too, its text part's.

    Raises:
        EngineError: bad_model, when it cannot be read or is of no family that is read here.
    """
    family = read_family(folder)
    if family not in FAMILIES:
        raise bad_model(
            folder, f"model_type in config.json is {family!r}; served are {', '.join(FAMILIES)}"
        )
    config = open_config(folder)
    return take_text_config(config) if family in SEEING_FAMILIES else config


def open_config(folder: Path) -> Any:
    """Return transformers' config of a model folder of any family.

    Raises:
        EngineError: bad_model, when it cannot be used.
    """
    register_models()
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except _UNUSABLE as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise bad_model(folder, f"its config.json cannot be used ({line[:200]})") from error


def make_shape(folder: Path, config: Any) -> DecoderShape:
    """Describe the model of a config.

    Raises:
        EngineError: bad_model, naming an option that is not followed or that contradicts another.
    """
    refuse: Callable[[str], Exception] = lambda what: bad_model(folder, f"config.json: {what}")  # noqa: E731
    for name in _UNKNOWN:
        if getattr(config, name, None):
            raise refuse(f"{name} is not followed")
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    if activation not in _ACTIVATIONS:
        raise refuse(f"hidden_act {activation!r} is not followed")
    if not 1 <= config.num_hidden_layers <= _MOST_LAYERS:
        raise refuse(f"num_hidden_layers must be from 1 to {_MOST_LAYERS}")
    _check_sizes(config, refuse)
    head_dim = _get_head_dim(config)
    is_gemma = config.model_type == "gemma3_text"
    layers, ropes = _make_layers(config, refuse)
    return DecoderShape(
        family=config.model_type,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        layers=layers,
        ropes=ropes,
        norm_eps=config.rms_norm_eps,
        activation=_ACTIVATIONS[activation],  # type: ignore[arg-type]
        attention_scale=config.query_pre_attn_scalar**-0.5 if is_gemma else head_dim**-0.5,
        embedding_scale=config.hidden_size**0.5 if is_gemma else 1.0,
        has_query_key_norm=config.model_type in ("qwen3", "gemma3_text"),
        has_sandwich_norm=is_gemma,
        num_experts=getattr(config, "num_local_experts", 0),
        num_experts_per_token=getattr(config, "num_experts_per_tok", 0),
        max_positions=config.max_position_embeddings,
    )


def _check_sizes(config: Any, refuse: Callable[[str], Exception]) -> None:
    for name in _SIZES:
        size = getattr(config, name)
        if not isinstance(size, int) or size < 1:
            raise refuse(f"{name} must be a positive number, not {size!r}")
    head_dim = _get_head_dim(config)
    if config.num_attention_heads % config.num_key_value_heads or head_dim < 2 or head_dim % 2:
        raise refuse("its heads do not divide")
    if not isinstance(config.rms_norm_eps, int | float):
        raise refuse(f"rms_norm_eps must be a number, not {config.rms_norm_eps!r}")
    experts = getattr(config, "num_local_experts", 1)
    if not 1 <= getattr(config, "num_experts_per_tok", 1) <= experts:
        raise refuse("num_experts_per_tok must be from 1 to num_local_experts")


def _get_head_dim(config: Any) -> int:
    given: int | None = getattr(config, "head_dim", None)
    return given or config.hidden_size // config.num_attention_heads


def _make_layers(
    config: Any, refuse: Callable[[str], Exception]
) -> tuple[tuple[LayerShape, ...], tuple[RopeShape, ...]]:
    """Return the layers with what turns their positions; Gemma has one rope for each kind."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = [_FULL if window is None else _SLIDING] * config.num_hidden_layers
    if len(kinds) != config.num_hidden_layers or set(kinds) - {_FULL, _SLIDING}:
        raise refuse("layer_types must say full_attention or sliding_attention for each layer")
    if _SLIDING in kinds and not (isinstance(window, int) and window > 0):
        raise refuse("sliding_window must be a positive number")
    each = {kind: window if kind == _SLIDING else None for kind in kinds}
    if config.model_type != "gemma3_text":
        rope = _make_rope(config, None, refuse)
        return tuple(LayerShape(window=each[kind]) for kind in kinds), (rope,)
    order = sorted(each)
    layers = tuple(LayerShape(order.index(kind), each[kind]) for kind in kinds)
    return layers, tuple(_make_rope(config, kind, refuse) for kind in order)


def _make_rope(
    config: Any, layer_type: str | None, refuse: Callable[[str], Exception]
) -> RopeShape:
    parameters = config.rope_parameters or {}
    parameters = parameters if layer_type is None else parameters[layer_type]
    kind = parameters.get("rope_type", "default")
    if kind not in _ROPE_KINDS:
        raise refuse(f"rope_type {kind!r} is not followed; known are {', '.join(_ROPE_KINDS)}")
    if parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise refuse("partial_rotary_factor is not followed")
    theta = parameters.get("rope_theta")
    if not isinstance(theta, int | float) or theta <= 0:
        raise refuse(f"rope_theta must be a positive number, not {theta!r}")
    if kind == "default":
        exponents = torch.arange(0, _get_head_dim(config), 2, dtype=torch.float32)
        exponents = exponents / _get_head_dim(config)
        return RopeShape(tuple((theta**-exponents).tolist()))
    try:
        frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, layer_type=layer_type)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise refuse(f"its {kind} rope cannot be computed ({error!r})") from error
    return RopeShape(tuple(frequencies.float().tolist()), float(factor))
