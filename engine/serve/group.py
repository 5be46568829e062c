"""The processes that share one served model by tensor parallelism: how they meet and agree.

The first is the run's own and answers; the others hold their share of the weights and follow
(`decoder.parallel`). Arguments go over gloo, sums on GPUs over NCCL.
"""

from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from engine.errors import EngineError
from engine.models.load import pick_device
from engine.ranks import count_ranks, get_local_rank
from engine.serve.decoder.sharding import WHOLE, Share
from engine.specs import Placement, ServeSpec
from engine.status import Reason

_PATIENCE = timedelta(days=3650)  # a server that nobody asks is not one that hangs


@dataclass(frozen=True)
class Group:
    """This process's place among those that share a model."""

    device: torch.device
    share: Share = WHOLE
    ranks: dist.ProcessGroup | None = None
    """None of a model that is whole in one process."""

    def agree_on_least(self, number: int) -> int:
        """Return the least of what all processes give."""
        if self.ranks is None:
            return number
        told = torch.tensor(number)
        dist.all_reduce(told, op=dist.ReduceOp.MIN, group=self.ranks)
        return int(told)


def join_group(spec: ServeSpec, placement: Placement) -> Group:
    """Meet the other processes, as torchrun's environment names them.

    Raises:
        EngineError: bad_spec, when there are others than the spec asks for, or fewer GPUs.
    """
    world, rank, given = count_ranks(), get_local_rank(), placement.devices
    if world != spec.tensor_parallel:
        raise EngineError(
            Reason.BAD_SPEC,
            f"tensor_parallel: it asks for {spec.tensor_parallel} processes and there are {world}: "
            "set it to 1, or serve with `python -m engine serve`, which starts them.",
        )
    if given and world > len(given):
        raise EngineError(
            Reason.BAD_SPEC,
            f"tensor_parallel: it asks for {world} GPUs and the run has {len(given)}: lower it, or "
            "take a flavor with as many.",
        )
    device = pick_device(given[rank:])
    if world == 1:
        return Group(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cuda:nccl,cpu:gloo" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    return Group(device, Share(rank, world), dist.group.WORLD)
