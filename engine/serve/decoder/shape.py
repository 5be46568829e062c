"""What a served model is, in numbers: every family is one stack of layers with some parts left out.

Plain values, no torch: the block manager and the memory advisor read them too.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RopeShape:
    """How positions turn queries and keys."""

    inverse_frequencies: tuple[float, ...]
    """Radians per position of each pair; half as many as the head's rotated width."""
    attention_factor: float = 1.0
    """Multiplies cosine and sine (YaRN, arXiv 2309.00071, section 3.4)."""


@dataclass(frozen=True)
class LayerShape:
    """What differs from layer to layer."""

    rope_index: int = 0
    """Which of `DecoderShape.ropes` turns its queries and keys."""
    window: int | None = None
    """A query sees itself and this many positions less one before it; None sees all."""


@dataclass(frozen=True)
class DecoderShape:
    """A whole model."""

    family: str
    """`model_type` of its config: llama, qwen2, qwen3, gemma3_text, mistral, mixtral, internlm2."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    layers: tuple[LayerShape, ...]
    ropes: tuple[RopeShape, ...]
    norm_eps: float
    activation: Literal["silu", "gelu_tanh"] = "silu"
    attention_scale: float = 0.0
    """Multiplies a query's product with a key; 0 is one over the root of `head_dim`."""
    embedding_scale: float = 1.0
    has_query_key_norm: bool = False
    """Queries and keys are normed head by head before they are turned."""
    has_sandwich_norm: bool = False
    """Attention and feed-forward are normed after themselves too, before they are added."""
    num_experts: int = 0
    num_experts_per_token: int = 0
    max_positions: int = 2048

    @property
    def num_layers(self) -> int:
        """Layers of the stack."""
        return len(self.layers)

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of keys and values of one position, in two-byte numbers."""
        return 2 * 2 * self.num_layers * self.num_kv_heads * self.head_dim
