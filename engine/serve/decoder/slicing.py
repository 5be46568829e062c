"""Parts of linear layers: of a fused projection, or of one that several ranks share."""

from dataclasses import replace

from torch import Tensor

from engine.serve.decoder.weights import LinearWeights


def take_outputs(linear: LinearWeights, rows: Tensor | slice) -> LinearWeights:
    """Return some outputs of a layer, in the order of `rows`; nothing is shared with the whole."""

    def take(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[rows].clone()

    return replace(
        linear,
        weight=linear.weight[rows].clone(),
        scale=take(linear.scale),
        zero=take(linear.zero),
        bias=take(linear.bias),
    )


def take_inputs(linear: LinearWeights, start: int, end: int, *, has_bias: bool) -> LinearWeights:
    """Return the part of a layer that reads its inputs from `start` up to `end`.

    The bias belongs to one part: with `has_bias` false it is left out.

    Raises:
        ValueError: when a group of a 4-bit layer would be cut.
    """
    scale, zero, divisor = linear.scale, linear.zero, 1
    if linear.kind == "int4":
        assert scale is not None
        group, divisor = linear.group_size, 2
        if start % group or (end % group and end != linear.num_inputs):
            raise ValueError(f"a group of {group} weights cannot be divided")
        groups = slice(start // group, -(-end // group))
        scale = scale[:, groups].clone()
        zero = None if zero is None else zero[:, groups].clone()
    return replace(
        linear,
        weight=linear.weight[:, start // divisor : end // divisor].clone(),
        scale=scale,
        zero=zero,
        bias=linear.bias if has_bias else None,
    )
