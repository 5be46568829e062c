"""Opens a model that no reader of `families` knows as a module of transformers, or refuses it.

What its pool has to hold is measured, by asking it: configs name their sizes in too many ways.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from engine.models.load import load_base
from engine.serve.decoder.checkpoint import bad_model
from engine.serve.decoder.shapes import FAMILIES, open_config

_WINDOWS = ("max_position_embeddings", "max_seq_len", "max_sequence_length", "seq_length")
_NO_WINDOW = 2**20  # ALiBi models name none; a spec's max_context bounds them
_NUM_PROBED = 8  # tokens: enough that a wrong position or a lost state shows
# Numbers of one text that is read in two parts differ by a hundredth in bfloat16, and by a half
# and more where a state or a position was lost.
_MOST_APART = 0.25
# What modules raise over a call that they are not made for.
_UNASKABLE = (TypeError, ValueError, AttributeError, LookupError, NotImplementedError)


@dataclass(frozen=True)
class KvShape:
    """Keys and values of one position in one layer."""

    num_heads: int
    key_width: int
    value_width: int
    dtype: torch.dtype


@dataclass(frozen=True)
class ModuleShape:
    """What a pool and a server need to know of a module."""

    layers: tuple[KvShape, ...]
    vocab_size: int
    max_positions: int

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of keys and values of one position, in their own dtype."""
        return sum(
            layer.num_heads * (layer.key_width + layer.value_width) * layer.dtype.itemsize
            for layer in self.layers
        )


def open_module(folder: Path, *, precision: str, device: torch.device) -> tuple[Any, ModuleShape]:
    """Open a causal model on `device`, frozen, and ask it what its pool has to hold.

    Raises:
        EngineError: bad_model, when it cannot be opened, is quantized, or remembers a text by
            other things than keys and values of every layer.
    """
    refuse: Callable[[str], Exception] = lambda what: bad_model(folder, what)  # noqa: E731
    config = open_config(folder)
    _check_config(config, refuse)
    model = load_base(folder, precision=precision, device=device, attention=None)
    try:
        return model, _measure(model, refuse)
    except _UNASKABLE as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise refuse(f"it cannot be asked for a next token ({line[:200]})") from error


def _check_config(config: Any, refuse: Callable[[str], Exception]) -> None:
    """Refuse what its config already tells, before its weights are read."""
    kind = f"{config.model_type!r} models"
    if getattr(config, "quantization_config", None):
        raise refuse(
            f"it is quantized, and {kind} are served in floats only; quantized are served "
            f"{', '.join(FAMILIES)}"
        )
    if config.is_encoder_decoder or type(config) not in AutoModelForCausalLM._model_mapping:
        raise refuse(f"{kind} are no decoders; take a causal language model")
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    if kinds - {DynamicLayer, DynamicSlidingWindowLayer}:
        raise _refuse_state(kind, refuse)


def _refuse_state(kind: str, refuse: Callable[[str], Exception]) -> Exception:
    return refuse(f"{kind} do not remember a text by the keys and values of each layer alone")


@torch.inference_mode()
def _measure(model: Any, refuse: Callable[[str], Exception]) -> ModuleShape:
    """Read a few tokens whole and in two parts, and prove that the cache is all that is kept."""
    config = model.config.get_text_config(decoder=True)
    kind = f"{model.config.model_type!r} models"
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        raise _refuse_state(kind, refuse)
    num_embeddings = model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(_NUM_PROBED, device=model.device)[None] % num_embeddings
    # Without a config a layer with a window keeps all it is given, and the mask hides what is old.
    cut, cache = _NUM_PROBED // 2, DynamicCache()
    whole = _ask(model, ids, DynamicCache())
    _ask(model, ids[:, :cut], cache)
    parts = _ask(model, ids[:, cut:], cache)
    layers = [_measure_layer(layer) for layer in cache.layers]
    is_kept = len(layers) == config.num_hidden_layers and None not in layers
    if not is_kept or (parts - whole).norm() > _MOST_APART * whole.norm():
        raise _refuse_state(kind, refuse)
    return ModuleShape(
        layers=tuple(layer for layer in layers if layer is not None),
        vocab_size=min(whole.shape[-1], num_embeddings),
        max_positions=_find_window(config),
    )


def _ask(model: Any, ids: Tensor, cache: DynamicCache) -> Tensor:
    """Return the logits of the last token, in float32."""
    logits: Tensor = model(input_ids=ids, past_key_values=cache, use_cache=True).logits[0, -1]
    return logits.float()


def _measure_layer(layer: Any) -> KvShape | None:
    """Return what a layer kept of each token of one text; None, if it is not that."""
    keys, values = layer.keys, layer.values
    if keys is None or values is None or keys.ndim != 4 or values.ndim != 4:
        return None
    (_, heads, length, key_width), value_width = keys.shape, values.shape[-1]
    if values.shape[:3] != keys.shape[:3] or (len(keys), length) != (1, _NUM_PROBED):
        return None
    return KvShape(heads, key_width, value_width, keys.dtype)


def _find_window(config: Any) -> int:
    """Return how many positions are served.

    Rope that turns by the length of the whole text is bounded by the length from which it does: a
    key in a pool is turned once.
    """
    named = (getattr(config, name, None) for name in _WINDOWS)
    window = next((size for size in named if isinstance(size, int) and size > 0), _NO_WINDOW)
    rope = getattr(config, "rope_parameters", None) or {}
    for each in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        if each.get("rope_type") in ("dynamic", "longrope"):
            first = each.get("original_max_position_embeddings")
            first = first or getattr(config, "original_max_position_embeddings", None)
            window = min(window, first or window)
    return window
