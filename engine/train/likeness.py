"""Refuses a model that training would take for another function than the one that is served.

The loop replaces two parts of a model: its attention (engine/train/attention.py, which refuses what
it cannot do) and its output head (engine/train/losses.py), a matrix, a scale and a cap. It lays
samples side by side as well: a model that lets one see another takes them one at a time (decision
064).
T tokens of a row, E hidden width, V vocabulary, P positions compared.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from engine.data.batch import Batch, collate
from engine.data.samples import IGNORED, Rendered, RenderedPair, Sample, get_sides
from engine.errors import EngineError
from engine.models.decoder import find_bend, head_weight
from engine.specs import TrainSpec
from engine.status import Reason
from engine.train.attention import PACKED

_MOST_LOOKED_AT = 10_000
_NUM_COMPARED = 8  # positions; a cap or scale of the logits shows in every one
_TOLERANCE = 1e-2  # bfloat16 rounds by 0.4 %
_MOST_DRIFT = 0.1  # rows of another length go through other kernels, which round otherwise


def pick_attention(folder: Path) -> str | None:
    """Return the name of packed attention, or None for a model that asks nobody how to attend."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, StrictDataclassError):
        return PACKED  # whoever opens the folder says what is wrong with it
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return PACKED if kind is None or kind._can_set_attn_implementation() else None


def check_likeness(base: Any, samples: Sequence[Sample], device: torch.device) -> bool:
    """Compare what the loop makes of one sample with what the model itself makes of it.

    Return whether samples may lie side by side. A model that lets them see one another gets its own
    attention back. The shortest sample is what is looked at. Expects `base` in eval mode.

    Raises:
        EngineError: bad_model, when its attention or its head does more than the loop's, when a
            token sees those behind it, or when head and decoder cannot be told apart.
    """
    decoder = base.get_decoder()
    if decoder is None or decoder is base or base.get_output_embeddings() is None:
        raise _refuse("it is not made of a decoder and an output head, which this trainer needs")
    sides = (
        side for sample in itertools.islice(samples, _MOST_LOOKED_AT) for side in get_sides(sample)
    )
    ids = min(sides, key=lambda side: len(side.ids)).ids
    with torch.no_grad():
        hidden_TE = _check_head(base, collate([_render(ids)], device))
        _check_order(base, ids, hidden_TE)
        if not _is_packed(base) or _keeps_apart(base, ids, hidden_TE):
            return _is_packed(base)
    base.set_attn_implementation("sdpa" if base._supports_sdpa else "eager")
    return False


def check_alone(spec: TrainSpec) -> None:
    """Refuse what needs samples side by side, for a model that takes one at a time.

    Raises:
        EngineError: bad_model, naming it.
    """
    needs = [f"stage {spec.stage}"] if spec.stage in ("dpo", "reward") else []
    fields = ("sequence", "tensor", "pipeline")
    needs += [f"parallel.{field}" for field in fields if getattr(spec.parallel, field) > 1]
    if needs:
        raise _refuse(f"it lets one sample see another, and {needs[0]} lays several in a row")


def _check_head(base: Any, row: Batch) -> Tensor:
    """Return the hidden states of a row, T x E, if the head makes of them what the loop does."""
    hidden: list[Tensor] = []
    hook = base.get_decoder().register_forward_hook(
        lambda module, inputs, output: hidden.append(output.last_hidden_state[0])
    )
    try:
        logits_1PV = base(**_list_inputs(base, row), logits_to_keep=_NUM_COMPARED).logits
    finally:
        hook.remove()
    head_VE = head_weight(base)
    bend = find_bend(base)
    ours_PV = F.linear(hidden[0][-_NUM_COMPARED:].to(head_VE.dtype), head_VE).float() * bend.scale
    if bend.cap is not None:
        ours_PV = bend.cap * (ours_PV / bend.cap).tanh()
    theirs_PV = logits_1PV[0, -_NUM_COMPARED:].float()
    if not torch.allclose(ours_PV, theirs_PV, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
        raise _refuse(
            "its output head does more to the logits than to scale and cap them, which this "
            "trainer does not do"
        )
    return hidden[0]


def _check_order(base: Any, ids: tuple[int, ...], hidden_TE: Tensor) -> None:
    """Refuse a model of which another last token changes what stands before it."""
    other = (*ids[:-1], _take_other(base, ids[-1]))
    row = collate([_render(other)], hidden_TE.device)
    if len(ids) > 1 and _measure_drift(_run(base, row)[:-1], hidden_TE[:-1]).max() > _TOLERANCE:
        raise _refuse("a token of it sees those behind it, which it is to foretell")


def _keeps_apart(base: Any, ids: tuple[int, ...], hidden_TE: Tensor) -> bool:
    """Say whether a sample stays what it is behind another, of which it borrows its beginning.

    It lies in the row as a pair's second side does: a quarter is the row's shared beginning, a
    quarter the first side's prompt. In two rows of one shape, whose kernels are the same, not even
    its rounding may follow what the first side has of its own.
    """
    shared, cut = ids[: len(ids) // 4], len(ids) // 2
    once = tuple(_take_other(base, token) for token in ids[cut:])
    twice = tuple(_take_other(base, token) for token in once)
    beside, again = (
        _run(base, collate([_pair((*ids[:cut], *other), ids)], hidden_TE.device, shared=shared))
        for other in (once, twice)
    )
    own = slice(cut - len(ids), None)
    if _measure_drift(beside[own], again[own]).max() > _TOLERANCE:
        return False
    return bool(_measure_drift(beside[own], hidden_TE[own]).mean() <= _MOST_DRIFT)


def _measure_drift(found_TE: Tensor, wanted_TE: Tensor) -> Tensor:
    """Return, for each position, how far apart the two are, by the length of what is wanted."""
    off_T = (found_TE - wanted_TE).float().norm(dim=-1)
    drift_T = off_T / wanted_TE.float().norm(dim=-1).clamp(min=1e-12)
    is_nan = found_TE.isnan().any(-1) & wanted_TE.isnan().any(-1)  # a spoilt model is none of ours
    return drift_T.masked_fill(is_nan, 0).nan_to_num(nan=torch.inf)


def _run(base: Any, row: Batch) -> Tensor:
    hidden_TE: Tensor = base.get_decoder()(**_list_inputs(base, row)).last_hidden_state[0]
    return hidden_TE


def _list_inputs(base: Any, row: Batch) -> dict[str, Any]:
    places = {"position_ids": row.positions_1T, "layout": row.layout} if _is_packed(base) else {}
    return {"input_ids": row.ids_1T, "use_cache": False, **places}


def _is_packed(base: Any) -> bool:
    return bool(base.config._attn_implementation == PACKED)


def _take_other(base: Any, token: int) -> int:
    return (token + 1) % head_weight(base).shape[0]


def _render(ids: tuple[int, ...]) -> Rendered:
    return Rendered(ids=ids, labels=(*(IGNORED,) * (len(ids) - 1), ids[-1]), row=0)


def _pair(first: tuple[int, ...], second: tuple[int, ...]) -> RenderedPair:
    return RenderedPair(_render(first), _render(second))


def _refuse(what: str) -> EngineError:
    return EngineError(Reason.BAD_MODEL, f"model: {what}: pick another base model.")
