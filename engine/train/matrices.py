"""Tensor parallel: each process has a part of each matrix, and between those a part of each row.

As in Megatron (arXiv 1909.08053) with sequence parallel (arXiv 2205.05198): what lies between two
blocks of matrices - norms, sums, embedding, head and loss - sees some of the row's tokens. A block
begins with all tokens and ends with their sums, each process getting its own. So whatever is whole
here, learns from some of the tokens or from some of the heads: its gradient is a part of a sum.
T tokens of a row, t = T / P of a part, E hidden width.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor import Shard as Cut

from engine.errors import EngineError
from engine.models.nf4 import NF4Linear
from engine.models.shards import INPUTS, Shard, get_sharding, slice_shard
from engine.status import Reason
from engine.train.mesh import Mesh
from engine.train.trainee import Trainee

_STYLES = ("colwise", "rowwise", "packed_colwise", "replicated_with_grad_allreduce")
"""What transformers' plans may ask for; the last is true of all that is whole here."""
_SMALL = 2**20  # numbers of a gradient that is summed together with others


def cut_matrices(trainee: Trainee, mesh: Mesh) -> None:
    """Leave this process its part of each matrix of the layers, in place, an adapter's beside it.

    By outputs an adapter's second matrix is cut, by inputs the first; the other is whole.

    Raises:
        EngineError: bad_spec, when the model does not say how, or cannot be cut so.
    """
    devices = mesh.tensor_mesh
    if devices is None:
        return
    sharding = _find_sharding(trainee.base)
    blocks = {name.rpartition(".")[0] for name, shard in sharding.items() if shard.by == "outputs"}
    names = {module: name for name, module in trainee.named_modules()}
    for name, shard in sharding.items():
        owner = trainee.base.get_submodule(name.rpartition(".")[0])
        child = getattr(owner, name.rpartition(".")[2])
        if isinstance(child, Tensor):
            setattr(owner, name.rpartition(".")[2], nn.Buffer(_slice(child, shard, devices, name)))
            continue
        for part in _list_linears(child, shard):
            _hold_part(part, shard, devices, name)
            if shard.parts:
                trainee.fused |= {f"{names[part]}.{n}": shard for n, _ in part.named_parameters()}
        if shard.by == "inputs":
            child.register_forward_hook(functools.partial(_leave, trainee, devices.get_group()))
    for name in blocks:
        trainee.base.get_submodule(name).register_forward_pre_hook(
            functools.partial(_enter, trainee, devices.get_group()), with_kwargs=True
        )


def sum_partial_gradients(trainee: Trainee, mesh: Mesh) -> None:
    """Add up what the processes that share matrices learnt of what each of them has whole."""
    if mesh.tensor_mesh is None:
        return
    group = mesh.tensor_mesh.get_group()
    grads = [
        grad.to_local() if isinstance(grad, DTensor) else grad
        for parameter in trainee.parameters()
        if (grad := parameter.grad) is not None and not _is_cut(parameter)
    ]
    for grad in grads:
        if grad.numel() >= _SMALL:
            dist.all_reduce(grad, group=group)
    small = [grad for grad in grads if grad.numel() < _SMALL]
    if not small:
        return
    flat = torch.cat([grad.flatten() for grad in small])
    dist.all_reduce(flat, group=group)
    for grad, summed in zip(small, flat.split([g.numel() for g in small]), strict=True):
        grad.copy_(summed.view_as(grad))


def _is_cut(parameter: Tensor) -> bool:
    names = parameter.device_mesh.mesh_dim_names if isinstance(parameter, DTensor) else None
    return names is not None and "tensor" in names


def _find_sharding(base: Any) -> dict[str, Shard]:
    decoder = base.get_decoder()
    if getattr(decoder, "sharding", None) is None:
        _check_plan(decoder, getattr(base.config, "base_model_tp_plan", None) or {})
    sharding = get_sharding(base)
    if not sharding:
        raise _refuse("this model says nowhere how its matrices are cut")
    return sharding


def _check_plan(decoder: nn.Module, plan: dict[str, str]) -> None:
    """Refuse a plan with a style that this trainer does not do, if anything is cut so."""
    names = [name for name, _ in [*decoder.named_modules(), *decoder.named_parameters()]]
    for pattern, style in plan.items():
        expression = re.compile(re.escape(pattern).replace(r"\*", r"\d+"))
        found = next((name for name in names if expression.fullmatch(name)), None)
        if style not in _STYLES and found is not None:
            raise _refuse(f"{found} would be cut as {style}, which this trainer does not do")


def _list_linears(module: nn.Module, shard: Shard) -> list[nn.Linear]:
    """Return what is cut of a layer: itself, or the layer below an adapter and half of that."""
    found = [module]
    if isinstance(module, LoraLayer):
        if any(module.use_dora.values()):
            raise EngineError(
                Reason.BAD_SPEC,
                "lora.variant: dora needs whole matrices: set parallel.tensor to 1, or take plain.",
            )
        side = module.lora_A if shard.by == "inputs" else module.lora_B
        found = [module.get_base_layer(), *side.values()]
    linears = [part for part in found if isinstance(part, nn.Linear)]
    if len(linears) < len(found) or any(isinstance(part, NF4Linear) for part in linears):
        raise _refuse("a base at 4 bits or without plain linear layers cannot be cut")
    return linears


def _hold_part(linear: nn.Linear, shard: Shard, devices: DeviceMesh, name: str) -> None:
    dim = 1 if shard.by == "inputs" else 0
    for key, whole in list(linear.named_parameters()):
        if key == "bias" and shard.by == "inputs":
            continue
        part = _slice(whole.detach(), shard, devices, name)
        held = DTensor.from_local(part, devices, [Cut(dim)], run_check=False)
        setattr(linear, key, nn.Parameter(held, requires_grad=whole.requires_grad))
    multiply: Callable[..., Tensor] = functools.partial(_multiply, linear, shard, devices.size())
    linear.forward = multiply  # type: ignore[method-assign]


def _slice(whole: Tensor, shard: Shard, devices: DeviceMesh, name: str) -> Tensor:
    try:
        return slice_shard(whole, shard, devices.get_local_rank(), devices.size()).contiguous()
    except ValueError as error:
        raise _refuse(f"{name} cannot be cut ({error})") from error


def _multiply(linear: nn.Linear, shard: Shard, size: int, inputs: Tensor) -> Tensor:
    """Multiply by the part that is here. A bias behind sums over processes counts once in all."""
    weight, bias = linear.weight, linear.bias
    if isinstance(weight, DTensor):
        weight = weight.to_local()
    if isinstance(bias, DTensor):
        bias = bias.to_local()  # type: ignore[assignment]
    if bias is not None and shard == INPUTS:
        bias = bias / size  # type: ignore[assignment]
    return F.linear(inputs, weight, bias)


def _enter(
    trainee: Trainee,
    group: dist.ProcessGroup,
    block: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Bring all tokens to a block's matrices, each of which sees some of the heads."""
    if not trainee.splits_rows:
        return args, kwargs
    if args:
        return (_Gather.apply(args[0], group), *args[1:]), kwargs
    return args, kwargs | {"hidden_states": _Gather.apply(kwargs["hidden_states"], group)}


def _leave(
    trainee: Trainee, group: dist.ProcessGroup, module: nn.Module, args: Any, out: Tensor
) -> Tensor:
    """Sum what each process found, for its own tokens; in generation for all of them."""
    if trainee.splits_rows:
        part: Tensor = _Scatter.apply(out, group)
        return part
    dist.all_reduce(out, group=group)
    return out


class _Gather(torch.autograd.Function):
    """1 x t x E of each process becomes 1 x T x E; gradients are summed, each gets its own."""

    @staticmethod
    def forward(ctx: Any, part_1tE: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _gather(part_1tE, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _scatter(grads[0], ctx.group), None


class _Scatter(torch.autograd.Function):
    """Undoes `_Gather`: 1 x T x E is summed over processes, and each gets its 1 x t x E."""

    @staticmethod
    def forward(ctx: Any, all_1TE: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _scatter(all_1TE, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _gather(grads[0], ctx.group), None


def _gather(part_1tE: Tensor, group: dist.ProcessGroup) -> Tensor:
    _, length, width = part_1tE.shape
    out = part_1tE.new_empty(length * dist.get_world_size(group), width)
    dist.all_gather_into_tensor(out, part_1tE[0].contiguous(), group=group)
    return out[None]


def _scatter(all_1TE: Tensor, group: dist.ProcessGroup) -> Tensor:
    _, length, width = all_1TE.shape
    out = all_1TE.new_empty(length // dist.get_world_size(group), width)
    dist.reduce_scatter_tensor(out, all_1TE[0].contiguous(), group=group)
    return out[None]


def _refuse(what: str) -> EngineError:
    return EngineError(Reason.BAD_SPEC, f"parallel.tensor: {what}: set it to 1.")
