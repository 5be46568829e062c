"""How tensor parallelism divides each linear layer, fused projections included.

A map of what goes where, and the slicing; not the communication. transformers' plans name two ways
to divide, by outputs and by inputs; a fused projection needs to say where its parts lie as well.
O outputs and I inputs of a layer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """How one layer is divided among ranks."""

    by: Literal["outputs", "inputs"]
    """By outputs each rank computes some of them; by inputs the ranks' results are summed, and a
    bias counts once."""
    parts: tuple[int, ...] = ()
    """Outputs of each fused part, in order; every rank takes its share of each. Empty is one."""


OUTPUTS, INPUTS = Shard("outputs"), Shard("inputs")
_OF_TRANSFORMERS = {
    "colwise": OUTPUTS,
    "colwise_rep": OUTPUTS,
    "colwise_gather_output": OUTPUTS,
    "rowwise": INPUTS,
    "rowwise_rep": INPUTS,
    "packed_colwise": Shard("outputs", (1, 1)),  # two parts alike
}


def get_sharding(model: Any) -> dict[str, Shard]:
    """Return the shard of each module or buffer that is divided, by its full name.

    Taken from the model's `sharding` patterns where it has them, else from its transformers plan.
    What is in neither is whole on each rank.
    """
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    patterns = getattr(decoder, "sharding", None)
    if patterns is None:
        plan = model.config.base_model_tp_plan or {}
        patterns = {
            name: _OF_TRANSFORMERS[style]
            for name, style in plan.items()
            if style in _OF_TRANSFORMERS
        }
    names = [name for name, _ in [*model.named_modules(), *model.named_buffers()]]
    found: dict[str, Shard] = {}
    for pattern, shard in patterns.items():
        expression = re.compile(re.escape(f"{prefix}.{pattern}").replace(r"\*", r"\d+"))
        found |= {name: shard for name in names if expression.fullmatch(name)}
    return found


def slice_shard(tensor: Tensor, shard: Shard, rank: int, world: int) -> Tensor:
    """Return a rank's part of an O x I weight, of its O biases, or of anything one value a head.

    A bias is whole on every rank where the inputs are divided.

    Raises:
        ValueError: when a part does not divide by the number of ranks.
    """
    if shard.by == "inputs":
        return tensor if tensor.ndim == 1 else _take(tensor, 1, rank, world)
    parts = tensor.split(_scale(shard.parts, tensor.shape[0]))
    return torch.cat([_take(part, 0, rank, world) for part in parts])


def order_by_rank(whole: Tensor, shard: Shard, world: int) -> Tensor:
    """Lay the ranks' slices of a whole tensor end to end, along the outputs."""
    return torch.cat([slice_shard(whole, shard, rank, world) for rank in range(world)])


def join_shards(slices: Sequence[Tensor], shard: Shard) -> Tensor:
    """Undo `slice_shard`: put the ranks' slices, in order, together again."""
    if shard.by == "inputs":
        return slices[0] if slices[0].ndim == 1 else torch.cat(list(slices), dim=1)
    sizes = _scale(shard.parts, slices[0].shape[0])
    parts = zip(*(part.split(sizes) for part in slices), strict=True)
    return torch.cat([piece for part in parts for piece in part])


def _scale(parts: tuple[int, ...], size: int) -> list[int]:
    total = sum(parts)
    return [part * size // total for part in parts] if parts else [size]


def _take(tensor: Tensor, dim: int, rank: int, world: int) -> Tensor:
    if tensor.shape[dim] % world:
        raise ValueError(f"{tensor.shape[dim]} features cannot be divided among {world} ranks")
    return tensor.chunk(world, dim=dim)[rank]
