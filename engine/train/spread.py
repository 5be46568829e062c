"""Spreads a model over the processes of a mesh: FSDP2 over samples, tensor parallel over matrices.

Gradients are summed, never averaged: a step's losses are divided once, by what the whole step
supervises.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Replicate

from engine.errors import EngineError
from engine.models.nf4 import NF4Linear
from engine.status import Reason
from engine.train.matrices import cut_matrices
from engine.train.mesh import Mesh
from engine.train.trainee import Trainee


def spread(trainee: Trainee, mesh: Mesh) -> Trainee:
    """Give this process its part of the weights, in place; on one process nothing changes.

    Raises:
        EngineError: bad_spec, when the model cannot be cut into as many parts.
    """
    check_cuts(trainee.base.config, mesh)
    cut_matrices(trainee, mesh)
    if mesh.weight_mesh is not None:
        for module in trainee.modules():
            if isinstance(module, NF4Linear):
                module.keep_as_parameters()
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
    tensor, sequence = mesh.options.tensor, mesh.options.sequence
    if tensor * sequence == 1:  # nobody is dealt any; there are models without
        return
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
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
            total += float(torch.linalg.vector_norm(grad, dtype=torch.float32)) ** 2
            continue
        key = (grad.device_mesh, tuple(not isinstance(p, Replicate) for p in grad.placements))
        part = torch.linalg.vector_norm(grad.to_local(), dtype=torch.float32) ** 2
        spread_sums[key] = spread_sums.get(key, torch.zeros_like(part)) + part
    for (devices, is_cut), part in spread_sums.items():
        for dimension, cut in enumerate(is_cut):
            if cut:
                dist.all_reduce(part, group=devices.get_group(dimension))
        total += float(part)
    return mesh.sum_over_stages(total)
