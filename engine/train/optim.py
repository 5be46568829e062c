"""The optimizer, and its learning rate as a function of the step, so that a resume is exact."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch

from engine.errors import EngineError
from engine.status import Reason
from engine.train.adam8 import AdamW8bit
from engine.train.offload import HOST, move_moments, step_from_host

Schedule = Literal["cosine", "linear", "constant", "wsd"]
Named = tuple[str, torch.nn.Parameter]
_BETAS = (0.9, 0.999)
_OUTER = ("embed", "tok_embed", "lm_head", "output", "head")
"""Parts of the names of what Muon leaves to AdamW: embeddings and heads."""


class Optimizers:
    """One or two optimizers under one rate; each parameter is in exactly one.

    A group's `scale` is what its learning rate is of the common one.
    """

    def __init__(self, parts: list[torch.optim.Optimizer], *, on_host: bool = False) -> None:
        """Take optimizers whose groups have a `scale`; what they remember may stay on the host."""
        self.parts = parts
        self.on_host = on_host

    def set_rate(self, rate: float) -> None:
        """Set the rate of the next step."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * group["scale"]

    def step(self) -> None:
        """Change the weights by their gradients."""
        for part in self.parts:
            if self.on_host:
                step_from_host(part)
            else:
                part.step()

    def read_moments(self) -> Iterator[tuple[int, torch.Tensor, dict[str, Any]]]:
        """Yield number of the part, parameter, and what is remembered of it, spread as that is."""
        for number, part in enumerate(self.parts):
            for parameter, state in part.state.items():
                if self.on_host:
                    move_moments(state, parameter.device)
                told = part.read_moments(parameter) if isinstance(part, AdamW8bit) else state
                yield number, parameter, told
                if self.on_host:
                    move_moments(state, HOST)

    def take_moments(self, number: int, parameter: torch.Tensor, moments: dict[str, Any]) -> None:
        """Have a part remember what `read_moments` told."""
        part = self.parts[number]
        if isinstance(part, AdamW8bit):
            part.take_moments(parameter, moments)
        else:
            part.state[parameter] = moments
        if self.on_host:
            move_moments(part.state[parameter], HOST)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)


def make_optimizers(
    named: Iterable[Named],
    *,
    name: Literal["adamw", "adamw8bit", "muon"] = "adamw",
    weight_decay: float,
    rate_ratio: float = 1.0,
    on_host: bool = False,
) -> Optimizers:
    """Make AdamW (arXiv 1711.05101), or Muon (arXiv 2502.16982) for matrices inside the layers.

    Vectors (norms, biases) do not decay. `rate_ratio` is LoRA+'s: how many times the rate the
    second matrix of an adapter gets. Muon's updates are scaled to AdamW's usual size, so that one
    learning rate serves both.

    Raises:
        EngineError: bad_spec, for Muon on weights that are spread over processes.
    """
    named = [pair for pair in named if pair[1].requires_grad]
    inner = [pair for pair in named if name == "muon" and _is_inner_matrix(*pair)]
    _refuse_spread(inner)
    kept = {id(parameter) for _, parameter in inner}
    outer = [pair for pair in named if id(pair[1]) not in kept]
    parts: list[torch.optim.Optimizer] = []
    if outer:
        groups = _group(outer, weight_decay, rate_ratio)
        is_small = name == "adamw8bit"
        parts.append(
            AdamW8bit(groups, betas=_BETAS)
            if is_small
            else torch.optim.AdamW(groups, lr=0.0, betas=_BETAS, fused=True)
        )
    if inner:
        groups = _group(inner, weight_decay, 1.0)
        parts.append(torch.optim.Muon(groups, lr=0.0, adjust_lr_fn="match_rms_adamw"))
    return Optimizers(parts, on_host=on_host)


def get_learning_rate(
    step: int,
    num_steps: int,
    *,
    peak: float,
    warmup_ratio: float,
    schedule: Schedule,
    decay_ratio: float = 0.1,
) -> float:
    """Return the rate of step `step`, from 0: a linear rise to `peak`, then the schedule down to 0.

    `wsd` (arXiv 2404.06395) holds the peak and falls in the last `decay_ratio` of the steps, along
    1 - sqrt. The first step has a rate above 0, and so has the last.
    """
    num_warmup = math.ceil(warmup_ratio * num_steps)
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    if schedule == "constant":
        return peak
    share = (step - num_warmup) / max(1, num_steps - num_warmup)
    if schedule == "linear":
        return peak * (1 - share)
    if schedule == "wsd":
        num_decay = min(num_steps - num_warmup, math.ceil(decay_ratio * num_steps))
        fallen = (step - (num_steps - num_decay)) / max(1, num_decay)
        return peak * (1 - math.sqrt(max(0.0, fallen)))
    return peak * 0.5 * (1 + math.cos(math.pi * share))


def _is_inner_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
    parts = name.split(".")
    return parameter.ndim == 2 and not any(part.startswith(_OUTER) for part in parts)


def _refuse_spread(inner: list[Named]) -> None:
    """Muon's step needs a whole matrix; torch's takes a spread one part by part, which differs."""
    if any(_is_part(parameter) for _, parameter in inner):
        raise EngineError(
            Reason.BAD_SPEC,
            "optimizer: muon needs whole matrices on each process: take adamw, or set "
            "parallel.shards and parallel.tensor to 1.",
        )


def _is_part(parameter: torch.Tensor) -> bool:
    """Say whether other processes hold more of a matrix; on a mesh of one, none does."""
    if not isinstance(parameter, torch.distributed.tensor.DTensor):
        return False
    return parameter.to_local().shape != parameter.shape


def _group(named: list[Named], weight_decay: float, rate_ratio: float) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in named:
        decay = weight_decay if parameter.ndim > 1 else 0.0
        scale = rate_ratio if "lora_B" in name else 1.0
        groups.setdefault((decay, scale, "embed" in name), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "scale": scale, "keeps_float32": is_embedding}
        for (decay, scale, is_embedding), members in groups.items()
    ]
