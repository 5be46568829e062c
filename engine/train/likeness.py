"""Refuses a model that training would take for another function than the one that is served.

The loop replaces two parts of a model: its attention (engine/train/attention.py, which refuses what
it cannot do) and its output head (engine/train/losses.py), a matrix and no more.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from engine.data.batch import collate
from engine.data.samples import Sample, get_sides
from engine.errors import EngineError
from engine.models.decoder import head_weight
from engine.status import Reason

_MOST_LOOKED_AT = 10_000
_NUM_COMPARED = 8  # positions; a cap or scale of the logits shows in every one
_TOLERANCE = 1e-2  # bfloat16 rounds by 0.4 %


def check_likeness(base: Any, samples: Sequence[Sample], device: torch.device) -> None:
    """Compare the logits of one sample, taken as the loop takes them, with the model's own.

    The shortest sample does, but where attention looks back over a window only it is the longest.
    Expects `base` in eval mode.

    Raises:
        EngineError: bad_model, when its attention or its head does more than the loop's.
    """
    has_window = getattr(base.config, "sliding_window", None) is not None
    pick = max if has_window else min
    sides = (
        side for sample in itertools.islice(samples, _MOST_LOOKED_AT) for side in get_sides(sample)
    )
    batch = collate([pick(sides, key=lambda side: len(side.ids))], device)
    hidden: list[torch.Tensor] = []
    hook = base.get_decoder().register_forward_hook(
        lambda module, inputs, output: hidden.append(output.last_hidden_state)
    )
    try:
        with torch.no_grad():
            logits_1PV = base(
                input_ids=batch.ids_1T,
                position_ids=batch.positions_1T,
                use_cache=False,
                layout=batch.layout,
                logits_to_keep=_NUM_COMPARED,
            ).logits
    finally:
        hook.remove()
    head_VE = head_weight(base)
    ours_PV = F.linear(hidden[0][0, -_NUM_COMPARED:].to(head_VE.dtype), head_VE).float()
    theirs_PV = logits_1PV[0, -_NUM_COMPARED:].float()
    if not torch.allclose(ours_PV, theirs_PV, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
        raise EngineError(
            Reason.BAD_MODEL,
            "model: its output head scales, caps or shifts the logits, which this trainer does not "
            "do: pick another base model.",
        )
