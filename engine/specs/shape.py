"""The numbers of a model that cost memory and time, from its `config.json`.

A contract module: pydantic and the standard library only.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

# Published names of the in-repo families and older ones -> the usual name.
_OTHER_NAMES = {
    "num_layers": "num_hidden_layers",
    "n_layer": "num_hidden_layers",
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "ffn_hidden_size": "intermediate_size",
    "multi_query_group_num": "num_key_value_heads",
    "kv_channels": "head_dim",
    "padded_vocab_size": "vocab_size",
    "seq_length": "max_position_embeddings",
    "model_max_length": "max_position_embeddings",
    "n_positions": "max_position_embeddings",
}


class ModelShape(BaseModel):
    """The numbers of a model that cost memory and time."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    num_params: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_context: int

    @property
    def layer_params(self) -> int:
        """Count the weights of the matrices inside the layers."""
        attention = self.head_dim * (2 * self.num_heads + 2 * self.num_kv_heads)
        return self.num_layers * self.hidden_size * (attention + 3 * self.intermediate_size)

    @property
    def end_params(self) -> int:
        """Count the weights of embeddings and head, one matrix or two."""
        matrix = self.vocab_size * self.hidden_size
        return min(2 * matrix, max(matrix, self.num_params - self.layer_params))

    @classmethod
    def from_config(cls, config: dict[str, Any], *, num_params: int | None = None) -> Self:
        """Read a `config.json`; parameters are counted from the shape where the files do not tell.

        Raises:
            ValueError: the config lacks a size that every decoder has; the message names it.
        """
        config = _rename(config)
        try:
            hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
            heads, vocab = int(config["num_attention_heads"]), int(config["vocab_size"])
            inner = int(config.get("intermediate_size") or 4 * hidden)
        except KeyError as missing:
            raise ValueError(
                f"config.json has no {missing.args[0]}: it is no decoder we know"
            ) from missing
        is_tied = bool(config.get("tie_word_embeddings"))
        shape = cls(
            num_params=num_params or 1,
            hidden_size=hidden,
            intermediate_size=inner,
            num_layers=layers,
            num_heads=heads,
            num_kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            vocab_size=vocab,
            max_context=int(config.get("max_position_embeddings") or 2048),
        )
        if num_params:
            return shape
        counted = shape.layer_params + hidden * (2 * layers + 1) + vocab * hidden * (2 - is_tied)
        return shape.model_copy(update={"num_params": counted})


def _rename(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config by the usual names; what has one already keeps it."""
    inner = config.get("text_config")  # of models that see or hear as well
    config = config | inner if isinstance(inner, dict) else config
    found = {usual: config[name] for name, usual in _OTHER_NAMES.items() if config.get(name)}
    if config.get("multi_query_attention") is False:  # ChatGLM's switch over the number of groups
        found.pop("num_key_value_heads", None)
    return found | {name: value for name, value in config.items() if value is not None}
