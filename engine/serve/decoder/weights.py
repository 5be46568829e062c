"""The weights of a served model, whatever precision they are held in.

Norms are float32, and as they multiply where a checkpoint stores a distance from one; a fused
projection is split on load; a tied head shares its tensor with the embedding. O outputs, I inputs,
G inputs of a group, E hidden width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

LinearKind = Literal["dense", "int8", "int4", "fp8"]


@dataclass(frozen=True)
class LinearWeights:
    """One linear layer, y = x W^T + b."""

    kind: LinearKind
    weight: Tensor
    """dense: O x I floats. int8: O x I int8. int4: O x I/2 uint8, the even column in the low half
    of each byte, values 0 to 15. fp8: O x I float8 (e4m3)."""
    scale: Tensor | None = None
    """int8, fp8: O float32. int4: O x I/G float32. A weight is (value - zero) * scale."""
    zero: Tensor | None = None
    """int4: O x I/G, uint8 from 0 to 15, or float32 where a format has a minimum instead (GGUF).
    None: 8 for int4, 0 for the others."""
    bias: Tensor | None = None
    """O floats."""
    has_int8_inputs: bool = False
    """The inputs may be rounded to int8, each row by its own largest value (W8A8)."""

    @property
    def num_outputs(self) -> int:
        """O."""
        return self.weight.shape[0]

    @property
    def num_inputs(self) -> int:
        """I."""
        return self.weight.shape[1] * (2 if self.kind == "int4" else 1)

    @property
    def group_size(self) -> int:
        """Inputs that share a scale."""
        if self.scale is None or self.kind != "int4":
            return self.num_inputs
        return self.num_inputs // self.scale.shape[1]


@dataclass(frozen=True)
class FeedForward:
    """down(act(gate(x)) * up(x)). An expert of a mixture is one of these."""

    gate: LinearWeights
    up: LinearWeights
    down: LinearWeights


@dataclass(frozen=True)
class LayerWeights:
    """One layer."""

    attention_norm: Tensor
    """E."""
    query: LinearWeights
    key: LinearWeights
    value: LinearWeights
    output: LinearWeights
    ffn_norm: Tensor
    feed_forward: FeedForward | None
    """None in a mixture of experts."""
    query_norm: Tensor | None = None
    """Head width; so is `key_norm`."""
    key_norm: Tensor | None = None
    attention_post_norm: Tensor | None = None
    """E; of a sandwich norm, so is `ffn_post_norm`."""
    ffn_post_norm: Tensor | None = None
    router: LinearWeights | None = None
    experts: tuple[FeedForward, ...] = ()


@dataclass(frozen=True)
class DecoderWeights:
    """A whole model."""

    embedding: Tensor
    """V x E."""
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: LinearWeights
