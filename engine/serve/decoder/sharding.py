"""How a model is divided among ranks (tensor parallelism, arXiv 1909.08053, section 3).

Queries, keys, values, gate and up go to the ranks by outputs, whole heads each; output and down by
inputs, so that the ranks' results are summed; the head by tokens. The rest is whole on each rank.
"""

from dataclasses import dataclass, replace

from engine.errors import EngineError
from engine.serve.decoder.shape import DecoderShape
from engine.serve.decoder.slicing import take_inputs, take_outputs
from engine.serve.decoder.weights import FeedForward, LayerWeights, LinearWeights
from engine.status import Reason

BY_OUTPUTS = frozenset({"query", "key", "value", "gate", "up"})
BY_INPUTS = frozenset({"output", "down"})


@dataclass(frozen=True)
class Share:
    """The part of a model that one rank of a group holds."""

    rank: int = 0
    world: int = 1

    def divide(self, shape: DecoderShape) -> DecoderShape:
        """Return the shape of each rank's part; the vocabulary is that of the whole model.

        Raises:
            EngineError: bad_spec, when heads or feed-forward do not divide.
        """
        world = self.world
        for name in ("num_heads", "num_kv_heads", "intermediate_size"):
            if getattr(shape, name) % world:
                raise EngineError(
                    Reason.BAD_SPEC,
                    f"tensor_parallel: the model's {name} of {getattr(shape, name)} cannot be "
                    f"divided among {world} devices; take a number that divides it.",
                )
        return replace(
            shape,
            num_heads=shape.num_heads // world,
            num_kv_heads=shape.num_kv_heads // world,
            intermediate_size=shape.intermediate_size // world,
        )

    def get_range(self, size: int) -> tuple[int, int]:
        """Return where this rank's part of `size` begins and ends; the last may be shorter."""
        part = -(-size // self.world)
        return min(self.rank * part, size), min((self.rank + 1) * part, size)


WHOLE = Share()


def shard_layer(layer: LayerWeights, shape: DecoderShape, share: Share) -> LayerWeights:
    """Return a rank's part of a layer; the whole may be freed after.

    Raises:
        EngineError: bad_spec, when it does not divide.
    """
    if share.world == 1:
        return layer
    share.divide(shape)
    feed_forward = layer.feed_forward
    return replace(
        layer,
        query=_by_outputs(layer.query, share),
        key=_by_outputs(layer.key, share),
        value=_by_outputs(layer.value, share),
        output=_by_inputs(layer.output, share),
        feed_forward=None if feed_forward is None else _shard_ffn(feed_forward, share),
        experts=tuple(_shard_ffn(expert, share) for expert in layer.experts),
    )


def shard_head(head: LinearWeights, share: Share) -> LinearWeights:
    """Return a rank's tokens of the head; of a tied one, a view of the embedding."""
    if share.world == 1:
        return head
    start, end = share.get_range(head.num_outputs)
    if head.kind == "dense" and head.bias is None:
        return replace(head, weight=head.weight[start:end])
    return take_outputs(head, slice(start, end))


def _shard_ffn(ffn: FeedForward, share: Share) -> FeedForward:
    return FeedForward(
        gate=_by_outputs(ffn.gate, share),
        up=_by_outputs(ffn.up, share),
        down=_by_inputs(ffn.down, share),
    )


def _by_outputs(linear: LinearWeights, share: Share) -> LinearWeights:
    return take_outputs(linear, slice(*share.get_range(linear.num_outputs)))


def _by_inputs(linear: LinearWeights, share: Share) -> LinearWeights:
    start, end = share.get_range(linear.num_inputs)
    try:
        return take_inputs(linear, start, end, has_bias=share.rank == 0)
    except ValueError as error:
        raise EngineError(
            Reason.BAD_SPEC,
            f"tensor_parallel: {error} among {share.world} devices; take fewer of them.",
        ) from error
