"""The optimizer, and its learning rate as a function of the step, so that a resume is exact."""

import math
from typing import Literal

import torch

Schedule = Literal["cosine", "linear", "constant"]


def make_optimizer(
    parameters: list[torch.nn.Parameter], *, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) with its usual betas; the rate is set before each step."""
    return torch.optim.AdamW(parameters, lr=0.0, betas=(0.9, 0.999), weight_decay=weight_decay)


def get_learning_rate(
    step: int, num_steps: int, *, peak: float, warmup_ratio: float, schedule: Schedule
) -> float:
    """Return the rate of step `step`, from 0: a linear rise to `peak`, then the schedule down to 0.

    The first step has a rate above 0, and so has the last.
    """
    num_warmup = math.ceil(warmup_ratio * num_steps)
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    if schedule == "constant":
        return peak
    share = (step - num_warmup) / max(1, num_steps - num_warmup)
    if schedule == "linear":
        return peak * (1 - share)
    return peak * 0.5 * (1 + math.cos(math.pi * share))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set one rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate
