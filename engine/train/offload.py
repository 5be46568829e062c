"""Keeps in the host's memory what a GPU needs only later: activations, and moments of optimizers.

On the CPU, which is the host, all stays where it is.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

HOST = torch.device("cpu")
_AT_ONCE = 2**26  # numbers of weights whose moments are on the device at a time: 512 MiB of float32

_Packed = tuple[Tensor, torch.device | None]


def keep_activations_on_host(num_tokens: int) -> AbstractContextManager[None]:
    """Have the backward pass of what is computed within find its activations in pinned memory.

    Activations are told from weights by their shape: a row's length is among the first two sizes,
    or it is attention's, which has four.
    """

    def pack(tensor: Tensor) -> _Packed:
        is_activation = tensor.ndim == 4 or num_tokens in tensor.shape[:2]
        is_wanted = is_activation and tensor.is_floating_point() and not tensor.is_leaf
        if not is_wanted or is_on_host(tensor):
            return tensor, None
        return copy_to_host(tensor), tensor.device

    def unpack(packed: _Packed) -> Tensor:
        kept, device = packed
        return kept if device is None else kept.to(device, non_blocking=True)

    hooks: AbstractContextManager[None] = torch.autograd.graph.saved_tensors_hooks(pack, unpack)
    return hooks


def step_from_host(optimizer: torch.optim.Optimizer) -> None:
    """Take an optimizer's step over some weights at a time, whose moments come for it and go."""
    groups = optimizer.param_groups
    try:
        for group in groups:
            for chunk in _cut(group["params"]):
                for parameter in chunk:
                    move_moments(optimizer.state.get(parameter, {}), parameter.device)
                optimizer.param_groups = [group | {"params": chunk}]
                optimizer.step()
                for parameter in chunk:
                    move_moments(optimizer.state.get(parameter, {}), HOST)
    finally:
        optimizer.param_groups = groups


def move_moments(state: dict[str, Any], device: torch.device) -> None:
    """Bring what is remembered of one weight to a device, in place; counts stay."""
    for key, value in state.items():
        if isinstance(value, DTensor):
            # The part of a spread tensor may lie elsewhere than its mesh for as long as nobody
            # computes with it; torch has no other way to say so.
            value._local_tensor = _move(value.to_local(), device)
        elif isinstance(value, Tensor) and value.ndim:
            state[key] = _move(value, device)


def is_on_host(tensor: Tensor) -> bool:
    """Say whether a tensor is in the host's memory already."""
    return tensor.device.type == HOST.type


def copy_to_host(tensor: Tensor) -> Tensor:
    """Copy into pinned memory, in the order of the device's work: only the device may read it."""
    kept = torch.empty_like(tensor, device=HOST, pin_memory=tensor.is_cuda)
    return kept.copy_(tensor, non_blocking=True)


def _move(value: Tensor, device: torch.device) -> Tensor:
    is_to_go = device == HOST and not is_on_host(value)
    return copy_to_host(value) if is_to_go else value.to(device, non_blocking=True)


def _cut(parameters: list[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    chunk: list[torch.nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if chunk and size + parameter.numel() > _AT_ONCE:
            yield chunk
            chunk, size = [], 0
        chunk.append(parameter)
        size += parameter.numel()
    if chunk:
        yield chunk
