"""A model that does not exist yet: its shape, and the tokenizer that it begins with."""

from typing import Literal, Self

from pydantic import Field, model_validator

from engine.specs.base import RepoRef, Spec

_NUM_BYTES = 256


class TokenizerOptions(Spec):
    """A byte-level BPE tokenizer (arXiv 1508.07909), trained on the rows that the model learns."""

    vocab_size: int = Field(
        default=16_384,
        ge=_NUM_BYTES + 8,
        le=262_144,
        title="Vocabulary",
        json_schema_extra={"unit": "tokens"},
    )
    """Most tokens it may have, special ones included. Little text gives fewer."""
    special_tokens: tuple[str, ...] = Field(
        default=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        min_length=1,
        max_length=1024,
        title="Special tokens",
        json_schema_extra={"advanced": True},
    )
    """Never cut. The first ends a document and fills."""
    chat_template: str = Field(
        default="", max_length=65_536, title="Chat template", json_schema_extra={"advanced": True}
    )
    """Jinja template of conversations. If empty, ChatML, where its tokens are among the special."""

    @model_validator(mode="after")
    def _tokens_are_told_apart(self) -> Self:
        if len(set(self.special_tokens)) < len(self.special_tokens) or "" in self.special_tokens:
            raise ValueError("special_tokens holds an empty or a repeated one: name each once")
        if self.vocab_size < _NUM_BYTES + len(self.special_tokens):
            raise ValueError(
                f"vocab_size has no room for {_NUM_BYTES} bytes and {len(self.special_tokens)} "
                "special tokens: raise it"
            )
        return self


class ScratchOptions(Spec):
    """A decoder with random weights, in the shape of a published family."""

    architecture: Literal["llama", "internlm2"] = Field(default="llama", title="Architecture")
    """`llama` opens everywhere; `internlm2` has InternLM2's names and fused projections."""
    hidden_size: int = Field(default=512, ge=32, le=16_384, title="Width")
    """Numbers that stand for a token inside the model."""
    num_layers: int = Field(default=8, ge=1, le=256, title="Layers")
    """Blocks of attention and feed-forward."""
    num_heads: int = Field(default=8, ge=1, le=256, title="Heads")
    """Attention heads; they share the width."""
    num_kv_heads: int = Field(
        default=0, ge=0, le=256, title="Key-value heads", json_schema_extra={"advanced": True}
    )
    """Heads of keys and values, each for as many queries (arXiv 2305.13245). 0 is one for each."""
    intermediate_size: int = Field(
        default=0, ge=0, le=65_536, title="Inner width", json_schema_extra={"advanced": True}
    )
    """Width inside the feed-forward part. 0 is 8/3 of the width, up to a multiple of 64."""
    max_positions: int = Field(
        default=2048, ge=32, le=1_048_576, title="Context", json_schema_extra={"unit": "tokens"}
    )
    """Longest text that the model is made for."""
    rope_theta: float = Field(
        default=10_000.0, ge=100, le=1e9, title="Rope base", json_schema_extra={"advanced": True}
    )
    """Base of the rotary angles (arXiv 2104.09864); longer contexts take a larger one."""
    tie_embeddings: bool = Field(
        default=False, title="Tied embeddings", json_schema_extra={"advanced": True}
    )
    """Use the embeddings as the output head too: fewer weights, for small models."""
    tokenizer: TokenizerOptions = Field(default=TokenizerOptions(), title="Tokenizer")
    """How a new tokenizer is trained."""
    tokenizer_from: RepoRef | None = Field(
        default=None,
        title="Tokenizer of",
        json_schema_extra={"widget": "model", "advanced": True},
    )
    """A model, or a folder that `data tokenizer` wrote, whose tokenizer is taken as it is."""

    @property
    def kv_heads(self) -> int:
        """Return how many key-value heads there are."""
        return self.num_kv_heads or self.num_heads

    @property
    def inner_size(self) -> int:
        """Return the width inside the feed-forward part (arXiv 2302.13971, section 2.2)."""
        return self.intermediate_size or -(-8 * self.hidden_size // 3 // 64) * 64

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} cannot be dealt to {self.num_heads} heads of an "
                "even width: take a multiple of twice num_heads"
            )
        if self.num_heads % self.kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} cannot share {self.kv_heads} key-value heads: take a "
                "divisor as num_kv_heads"
            )
        return self

    def to_config(self, vocab_size: int) -> dict[str, object]:
        """Return the keys of a `config.json` that say this shape; both architectures have them."""
        return {
            "model_type": self.architecture,
            "vocab_size": vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.inner_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.kv_heads,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.tie_embeddings,
        }
