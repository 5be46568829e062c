"""Spreads a model over the processes of a mesh: FSDP2 over samples, tensor parallel over matrices.

Gradients are summed, never averaged: a step's losses are divided once, by what the whole step
supervises.
"""

import fnmatch
from typing import Any

import torch
import torch.distributed as dist
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from engine.errors import EngineError
from engine.status import Reason
from engine.train.mesh import Mesh
from engine.train.trainee import Trainee

_SUMMED = "replicated_with_grad_allreduce"


def spread(trainee: Trainee, mesh: Mesh) -> Trainee:
    """Give this process its part of the weights, in place; on one process nothing changes.

    Raises:
        EngineError: bad_spec, when the model cannot be cut into as many parts.
    """
    check_cuts(trainee.base.config, mesh)
    if mesh.tensor_mesh is not None:
        _cut_matrices(trainee, mesh)
    if mesh.weight_mesh is not None:
        for module in (*trainee.layers, trainee):
            fully_shard(module, mesh=mesh.weight_mesh, reshard_after_forward=True)
        for module in trainee.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)  # Gloo knows no other
        register_fsdp_forward_method(trainee, "generate")
    return trainee


def check_cuts(config: Any, mesh: Mesh) -> None:
    """Refuse sizes that the model's heads cannot be dealt to.

    Raises:
        EngineError: bad_spec, naming the field and the size.
    """
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    tensor, sequence = mesh.options.tensor, mesh.options.sequence
    if kv_heads % tensor or heads % (tensor * sequence):
        field = "tensor" if kv_heads % tensor or heads % tensor else "sequence"
        raise EngineError(
            Reason.BAD_SPEC,
            f"parallel.{field}: the model's {heads} heads and {kv_heads} key-value heads cannot be "
            f"dealt to tensor {tensor} x sequence {sequence}: take a divisor.",
        )


def sum_squares(trainee: Trainee, mesh: Mesh) -> float:
    """Return the squared norm of all gradients, each part of a spread one counted once."""
    total = 0.0
    spread_sums: dict[tuple[Any, ...], torch.Tensor] = {}
    for name, parameter in trainee.named_parameters():
        grad = parameter.grad
        is_counted_elsewhere = name == trainee.shared_matrix and not trainee.is_first_stage
        if grad is None or is_counted_elsewhere:
            continue
        if not isinstance(grad, DTensor):
            total += float(grad.float().square().sum())
            continue
        key = (grad.device_mesh, tuple(not isinstance(p, Replicate) for p in grad.placements))
        part = grad.to_local().float().square().sum()
        spread_sums[key] = spread_sums.get(key, torch.zeros_like(part)) + part
    for (devices, is_cut), part in spread_sums.items():
        for dimension, cut in enumerate(is_cut):
            if cut:
                dist.all_reduce(part, group=devices.get_group(dimension))
        total += float(part)
    return mesh.sum_over_stages(total)


def _cut_matrices(trainee: Trainee, mesh: Mesh) -> None:
    decoder = trainee.base.get_decoder()
    plan = getattr(trainee.base.config, "base_model_tp_plan", None)
    if not plan:
        raise EngineError(
            Reason.BAD_SPEC,
            "parallel.tensor: this model says nowhere how its matrices are cut: set it to 1.",
        )
    for name, module in list(decoder.named_modules()):
        style = next((plan[key] for key in plan if fnmatch.fnmatchcase(name, key)), None)
        if style in ("colwise", "rowwise"):
            _cut(module, style, mesh)
        elif style == _SUMMED:
            _sum_gradients(module, mesh)
        elif style is not None:
            raise EngineError(
                Reason.BAD_SPEC,
                f"parallel.tensor: {name} would be cut as {style}, which this trainer does not do: "
                "set it to 1.",
            )


def _cut(module: nn.Module, style: str, mesh: Mesh) -> None:
    """Cut a linear layer by its outputs or inputs, and its adapter beside it.

    By outputs the adapter's second matrix is cut, by inputs the first; the other is whole.
    """
    assert mesh.tensor_mesh is not None
    make: type[ParallelStyle] = ColwiseParallel if style == "colwise" else RowwiseParallel
    if not isinstance(module, LoraLayer):
        parallelize_module(module, mesh.tensor_mesh, make())
        return
    cut = module.lora_B if style == "colwise" else module.lora_A
    parallelize_module(module.base_layer, mesh.tensor_mesh, make())
    for part in cut.values():
        parallelize_module(part, mesh.tensor_mesh, make())


def _sum_gradients(module: nn.Module, mesh: Mesh) -> None:
    """Sum a whole weight's gradient over the processes that each see some of the heads."""
    assert mesh.tensor_mesh is not None
    group = mesh.tensor_mesh.get_group()

    def add_up(grad: torch.Tensor) -> torch.Tensor:
        grad = grad.clone()
        dist.all_reduce(grad, group=group)
        return grad

    for parameter in module.parameters(recurse=False):
        if parameter.requires_grad:
            parameter.register_hook(add_up)
