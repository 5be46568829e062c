"""The processes of one training, and who of them shares what.

Dimensions, outermost first: `pipeline` has different layers, `replica` and `shard` see different
samples, `sequence` different parts of a packed row, `tensor` different parts of each matrix, and
of each part of a row.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.rendezvous import rendezvous

from engine.errors import EngineError
from engine.ranks import count_ranks, is_elastic
from engine.specs.parallel import ParallelOptions
from engine.status import Reason
from engine.train.meeting import meet

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
DIMENSIONS = ("pipeline", "replica", "shard", "sequence", "tensor")


@dataclass(frozen=True)
class Mesh:
    """This process's place among all of a training."""

    options: ParallelOptions
    device: torch.device
    devices: DeviceMesh | None = None
    """None where the training is one process."""
    way_back: dist.ProcessGroup | None = None
    """The pipeline's processes once more: gradients go their own way, past what goes forward."""

    @property
    def is_alone(self) -> bool:
        """Say whether this process is the whole training."""
        return self.devices is None

    @property
    def rank(self) -> int:
        """Return this process's number among all, from 0."""
        return 0 if self.devices is None else dist.get_rank()

    @property
    def is_first(self) -> bool:
        """Say whether this process speaks for all: it writes, emits and answers."""
        return self.rank == 0

    @property
    def speaks_for_stage(self) -> bool:
        """Say whether this process gives what all of its pipeline stage have."""
        return not any(place for name, place in self._place.items() if name != "pipeline")

    @property
    def num_readers(self) -> int:
        """Return how many groups see samples of their own."""
        return self.options.replicas * self.options.shards

    @property
    def reader(self) -> int:
        """Return the number of this process's group among those."""
        place = self._place
        return place["replica"] * self.options.shards + place["shard"]

    @property
    def pipeline_stage(self) -> int:
        """Return which of the pipeline's stages is this process's, from 0."""
        return self._place["pipeline"]

    @property
    def sequence_part(self) -> int:
        """Return which part of each row is this process's."""
        return self._place["sequence"]

    @property
    def sequence_group(self) -> dist.ProcessGroup | None:
        """Return the processes that share a row; None where rows are whole."""
        if self.devices is None or self.options.sequence == 1:
            return None
        return self.devices["sequence"].get_group()

    @property
    def tensor_part(self) -> int:
        """Return which part of each matrix is this process's, and of its part of each row."""
        return self._place["tensor"]

    @cached_property
    def row_group(self) -> dist.ProcessGroup | None:
        """Return the processes that have a part of one row each; None where rows are whole."""
        if self.devices is None or self.options.sequence * self.options.tensor == 1:
            return None
        return self.devices["sequence", "tensor"]._flatten("row").get_group()

    @property
    def tensor_mesh(self) -> DeviceMesh | None:
        """Return the processes that share matrices; None where these are whole."""
        return self.devices["tensor"] if self.devices and self.options.tensor > 1 else None

    @cached_property
    def weight_mesh(self) -> DeviceMesh | None:
        """Return replicas x (shards x sequence parts): over these, gradients are summed."""
        if self.devices is None:
            return None
        self.devices["shard", "sequence"]._flatten("weights")
        return self.devices["replica", "weights"]

    def close(self) -> None:
        """Part from the others, once all are done."""
        if self.devices is not None:
            dist.destroy_process_group()

    @cached_property
    def _place(self) -> dict[str, int]:
        if self.devices is None:
            return dict.fromkeys(DIMENSIONS, 0)
        return dict(zip(DIMENSIONS, self.devices.get_coordinate() or (), strict=True))

    def sum_over_rows(self, values: list[float]) -> list[float]:
        """Sum numbers that differ by sample or by part of a row, over all that see these.

        Stages of a pipeline that know nothing of them give zeros.
        """
        return self._sum(values, DIMENSIONS)

    def sum_over_stages(self, value: float) -> float:
        """Sum a number over the stages of this process's pipeline."""
        return self._sum([value], ("pipeline",))[0]

    def _sum(self, values: list[float], over: tuple[str, ...]) -> list[float]:
        if self.devices is None:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        for name in over:
            dist.all_reduce(total, group=self.devices[name].get_group())
        return [float(value) for value in total]

    def gather(self, known: dict[_Key, _Value]) -> dict[_Key, _Value]:
        """Join what all processes know; where two know the same, either's is kept."""
        if self.devices is None:
            return known
        parts: list[dict[_Key, _Value]] = [{} for _ in range(dist.get_world_size())]
        dist.all_gather_object(parts, known)
        return {key: value for part in parts for key, value in part.items()}

    def bring_to_first(self, known: dict[_Key, Tensor]) -> dict[_Key, Tensor]:
        """Return, to the first process, what it and the other stages know; it wins what two know.

        Only who speaks for a stage gives; tensors are on the CPU and go one by one.
        """
        if self.devices is None or self.options.pipeline == 1 or not self.speaks_for_stage:
            return known
        group = self.devices["pipeline"].get_group()
        shapes = {key: (value.shape, value.dtype) for key, value in known.items()}
        told: list[Any] | None = [None] * self.options.pipeline if self.is_first else None
        dist.gather_object(shapes, told, dst=0, group=group)
        if told is None:
            for value in known.values():
                dist.send(value.contiguous(), dst=0, group=group)
            return known
        found = dict(known)
        for stage, theirs in enumerate(told[1:], start=1):
            for key, (shape, dtype) in theirs.items():
                value = torch.empty(shape, dtype=dtype)
                dist.recv(value, src=dist.get_global_rank(group, stage), group=group)
                found.setdefault(key, value)
        return found

    def agree(self, flag: bool) -> bool:
        """Say whether any process says so; all get one answer at the same step."""
        if self.devices is None:
            return flag
        told = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return bool(told)


def open_mesh(options: ParallelOptions, device: torch.device) -> Mesh:
    """Join the other processes of a training, as torchrun's environment names them.

    Under torchrun, which may come back with more or fewer machines, there are as many replicas as
    these make.

    Raises:
        EngineError: bad_spec, when there are other processes than the spec asks for.
    """
    world = count_ranks()
    around = options.num_processes // options.replicas
    if is_elastic() and world % around == 0:
        options = options.model_copy(update={"replicas": world // around})
    if world != options.num_processes:
        raise EngineError(
            Reason.BAD_SPEC,
            f"parallel: it asks for {options.num_processes} processes and there are {world}: "
            "change parallel, or start it with as many.",
        )
    if world == 1:
        return Mesh(options, device)
    if device.type == "cuda":  # else a mesh takes the first ones, whatever a placement names
        torch.cuda.set_device(device)
        torch.cuda.init()
    if not dist.is_initialized():
        backend = "cuda:nccl,cpu:gloo" if device.type == "cuda" else "gloo"
        if is_elastic():
            store, rank, _ = next(rendezvous("env://"))
            dist.init_process_group(
                backend, store=meet(store, rank, world), rank=rank, world_size=world
            )
        else:
            dist.init_process_group(backend)
    sizes = (
        options.pipeline,
        options.replicas,
        options.shards,
        options.sequence,
        options.tensor,
    )
    devices = init_device_mesh(device.type, sizes, mesh_dim_names=DIMENSIONS)
    way_back = None
    if options.pipeline > 1:
        pipelines = devices.mesh.flatten(1).T.tolist()
        way_back, _ = dist.new_subgroups_by_enumeration(pipelines)
    return Mesh(options, device, devices, way_back)
