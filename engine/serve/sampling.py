"""Draws the next tokens of many answers at once, each as if it were alone.

A row's result depends on its own logits, history and random number only. The random number is a
digest of the request's seed and of the token's place in the answer, so that no neighbour, order or
recomputation changes it. R rows, V vocabulary, K candidates.
"""

import secrets
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.serve.backend import Sampling

_COLDEST = 1e-5  # below, a division would leave float32
# Most candidates looked at before a whole row is sorted; SmolLM2's nucleus of 0.95 mostly has fewer
# than 100, and sorting 49152 numbers takes as long as a step of it.
_NUM_CANDIDATES = 512
_PIECE = 256


@dataclass(frozen=True)
class Drawn:
    """A token of one row, and what was likely there where that was asked for."""

    token_id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest: id, log-probability."""


@dataclass(eq=False)
class History:
    """What the draws of one answer depend on: how, from which seed, and what was said before."""

    sampling: Sampling
    prompt_ids: Sequence[int] = ()
    seed: int = field(init=False)
    num_drawn: int = field(default=0, init=False)
    counts: Counter[int] = field(default_factory=Counter, init=False)
    """How often the answer holds a token; kept only where a penalty asks."""

    def __post_init__(self) -> None:
        """Choose a seed where none was given."""
        given = self.sampling.seed
        self.seed = secrets.randbits(64) if given is None else given % 2**64

    @property
    def has_penalty(self) -> bool:
        """True when a token's logit depends on what was said."""
        s = self.sampling
        return bool(s.repetition_penalty != 1 or s.frequency_penalty or s.presence_penalty)

    def add(self, token_id: int) -> None:
        """Record a drawn token."""
        self.num_drawn += 1
        if self.has_penalty:
            self.counts[token_id] += 1

    def draw_uniform(self, num_unread: int = 0) -> float:
        """Return the next token's random number, in [0, 1): the same until a token is added.

        `num_unread` tokens before it are drawn and not added yet.
        """
        place = self.num_drawn + num_unread
        digest = blake2b(struct.pack("<QQ", self.seed, place), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) * 2.0**-53


def draw_tokens(
    logits_RV: Tensor, histories: Sequence[History], masks_RV: Tensor | None = None
) -> list[Drawn]:
    """Draw one token for each row; `histories` stay as they are.

    `logits_RV` is float32. Where `masks_RV` is False a token cannot be drawn.

    Raises:
        ValueError: a row has logits that are no numbers, or nothing that can be drawn.
    """
    if not bool(torch.isfinite(logits_RV.amax(-1)).all()):
        raise ValueError("logits are not finite")
    changed_RV = _change_logits(logits_RV, histories, masks_RV)
    chosen = changed_RV.argmax(-1)
    if changed_RV is not logits_RV and bool(changed_RV.amax(-1).isneginf().any()):
        raise ValueError("no token can be drawn")
    hot = [row for row, history in enumerate(histories) if history.sampling.temperature > 0]
    if hot:
        hot_rows = torch.tensor(hot, device=chosen.device)
        rows_HV = changed_RV if len(hot) == len(histories) else changed_RV[hot_rows]
        chosen[hot_rows] = _draw_rows(rows_HV, [histories[row] for row in hot])
    ids = chosen.tolist()
    wanted = [row for row, history in enumerate(histories) if wants_logprobs(history.sampling)]
    if not wanted:
        return [Drawn(token_id) for token_id in ids]
    likely = dict(zip(wanted, _find_logprobs(logits_RV, histories, wanted, ids), strict=True))
    return [likely.get(row) or Drawn(token_id) for row, token_id in enumerate(ids)]


def draw_unread(
    logits_RV: Tensor, histories: Sequence[History], *, num_unread: int
) -> tuple[Tensor, Tensor]:
    """Draw one token for each row and leave it on the device; nothing is waited for.

    `num_unread` tokens of each answer are drawn and not in its history. Penalties, biases, masks,
    log-probabilities and what `waits_for_draw` are for `draw_tokens`. The logits may be changed.
    Return int64 ids, R, and which rows held numbers, R bool: the others' ids mean nothing.
    """
    is_finite_R = torch.isfinite(logits_RV.amax(-1))
    logits_RV.masked_fill_(~is_finite_R[:, None], 0.0)  # no place is found in what is no number
    chosen = logits_RV.argmax(-1)
    hot = [row for row, history in enumerate(histories) if history.sampling.temperature > 0]
    if len(hot) == len(histories):
        chosen = _draw_rows(logits_RV, histories, num_unread)
    elif hot:
        rows = torch.tensor(hot).to(chosen.device, non_blocking=True)
        chosen[rows] = _draw_rows(logits_RV[rows], [histories[row] for row in hot], num_unread)
    return chosen, is_finite_R


def waits_for_draw(sampling: Sampling) -> bool:
    """Say whether a draw may have to ask the device how many tokens are likely enough."""
    return _is_cut(sampling) and not 0 < sampling.top_k <= _NUM_CANDIDATES


def wants_logprobs(sampling: Sampling) -> bool:
    """Say whether log-probabilities were asked for; of the drawn token alone counts too."""
    return sampling.num_logprobs is not None


def _change_logits(
    logits_RV: Tensor, histories: Sequence[History], masks_RV: Tensor | None
) -> Tensor:
    """Apply penalties, biases and masks, in this order; the logits given stay as they are."""
    touched = [r for r, h in enumerate(histories) if h.has_penalty or h.sampling.logit_bias]
    if not touched and masks_RV is None:
        return logits_RV
    changed_RV = logits_RV.clone()
    for row in touched:
        _penalize(changed_RV[row], histories[row])
        if bias := histories[row].sampling.logit_bias:
            ids = torch.tensor([token_id for token_id, _ in bias], device=logits_RV.device)
            values = torch.tensor([value for _, value in bias], device=logits_RV.device)
            changed_RV[row].index_add_(0, ids, values.to(changed_RV))
    if masks_RV is not None:
        changed_RV.masked_fill_(~masks_RV, float("-inf"))
    return changed_RV


def _penalize(logits_V: Tensor, history: History) -> None:
    sampling, device = history.sampling, logits_V.device
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sorted({*history.prompt_ids, *history.counts}), device=device)
        old = logits_V[seen]
        penalty = sampling.repetition_penalty
        logits_V[seen] = torch.where(old > 0, old / penalty, old * penalty)
    if history.counts and (sampling.frequency_penalty or sampling.presence_penalty):
        ids = torch.tensor(list(history.counts), device=device)
        counts = torch.tensor(list(history.counts.values()), device=device).to(logits_V)
        taken = sampling.frequency_penalty * counts + sampling.presence_penalty
        logits_V[ids] -= taken


def _draw_rows(logits_HV: Tensor, histories: Sequence[History], num_unread: int = 0) -> Tensor:
    """Draw by temperature from what top-k, top-p and min-p leave, in this order."""
    device = logits_HV.device
    heat = [max(history.sampling.temperature, _COLDEST) for history in histories]
    # In place: each further tensor of this size costs as much as the arithmetic on it.
    probs_HV = (logits_HV - logits_HV.amax(-1, keepdim=True)).div_(_column(heat, device)).exp_()
    sums_HP = _cut_into_pieces(probs_HV).sum(-1)
    probs_HV.div_(sums_HP.sum(-1, keepdim=True))
    numbers = [[history.draw_uniform(num_unread)] for history in histories]
    uniforms = torch.tensor(numbers, device=device, dtype=torch.float64)
    free = [row for row, history in enumerate(histories) if not _is_cut(history.sampling)]
    cut = [row for row, history in enumerate(histories) if _is_cut(history.sampling)]
    if not cut:
        return pick(probs_HV, uniforms)
    if not free:
        return _pick_cut(probs_HV, uniforms, [history.sampling for history in histories])
    chosen = torch.empty(len(histories), dtype=torch.long, device=device)
    chosen[free] = pick(probs_HV[free], uniforms[free])
    samplings = [histories[row].sampling for row in cut]
    chosen[cut] = _pick_cut(probs_HV[cut], uniforms[cut], samplings)
    return chosen


def _is_cut(sampling: Sampling) -> bool:
    return bool(sampling.top_k > 0 or sampling.top_p < 1 or sampling.min_p > 0)


def _pick_cut(probs_CV: Tensor, uniforms_C1: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    vocab_size = probs_CV.shape[1]
    top_CK, ids_CK = probs_CV.topk(min(_NUM_CANDIDATES, vocab_size), dim=-1)
    kept_CK = keep_likely(top_CK, samplings)
    chosen = ids_CK.gather(1, pick(kept_CK, uniforms_C1)[:, None])[:, 0]
    if not any(map(waits_for_draw, samplings)):
        return chosen
    # Where the least likely candidate is still kept, more might have been.
    num_looked_at = top_CK.shape[1]
    open_rows = (kept_CK[:, -1] > 0).nonzero()[:, 0].tolist()
    for row in open_rows:
        if num_looked_at == vocab_size or samplings[row].top_k == num_looked_at:
            continue
        sorted_1V, ids_1V = probs_CV[row : row + 1].sort(descending=True)
        kept_1V = keep_likely(sorted_1V, samplings[row : row + 1])
        chosen[row] = ids_1V[0, pick(kept_1V, uniforms_C1[row : row + 1])[0]]
    return chosen


def keep_likely(sorted_CK: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Zero what each row's top-k, top-p and min-p drop from probabilities sorted downwards.

    top-p leaves the fewest likeliest that together reach it (arXiv 1904.09751, section 3.1), of
    what top-k has left. The likeliest always stays. Nothing is scaled back to a sum of 1.
    """
    device, width = sorted_CK.device, sorted_CK.shape[1]
    top_k = _column([s.top_k or width for s in samplings], device)
    ranks_K = torch.arange(width, device=device)
    kept_CK = torch.where(ranks_K < top_k, sorted_CK, 0.0)
    has_top_k = torch.tensor([[s.top_k > 0] for s in samplings], device=device)
    total_C1 = torch.where(has_top_k, kept_CK.sum(-1, keepdim=True), 1.0)
    before_CK = kept_CK.cumsum(-1) - kept_CK
    top_p = _column([s.top_p for s in samplings], device)
    is_kept_CK = (before_CK < top_p * total_C1) | (top_p >= 1)
    min_p = _column([s.min_p for s in samplings], device)
    is_kept_CK &= kept_CK >= min_p * sorted_CK[:, :1]
    is_kept_CK[:, 0] = True
    return torch.where(is_kept_CK, kept_CK, 0.0)


def pick(weights_RK: Tensor, uniforms_R1: Tensor) -> Tensor:
    """Return for each row the place where its running sum passes its share `uniforms_R1`.

    Wide rows are summed by pieces first: a running sum over a whole vocabulary takes longer than
    all else of a draw.
    """
    width = weights_RK.shape[1]
    if width <= 2 * _PIECE:
        return _pick_place(weights_RK, uniforms_R1 * weights_RK.double().sum(-1, keepdim=True))
    pieces_RPW = _cut_into_pieces(weights_RK)
    sums_RP = pieces_RPW.sum(-1)
    marks_R1 = uniforms_R1 * sums_RP.double().sum(-1, keepdim=True)
    pieces = _pick_place(sums_RP, marks_R1)
    before_RP = F.pad(sums_RP.double().cumsum(-1), (1, 0))
    rest_R1 = marks_R1 - before_RP.gather(1, pieces[:, None])
    own_RW = pieces_RPW[torch.arange(len(pieces), device=pieces.device), pieces]
    return pieces * _PIECE + _pick_place(own_RW, rest_R1)


def _cut_into_pieces(values_RK: Tensor) -> Tensor:
    """Return R x P x W, zeros at the end; a piece is summed in one order whatever R is."""
    short = -values_RK.shape[1] % _PIECE
    filled_RK = F.pad(values_RK, (0, short)) if short else values_RK
    return filled_RK.unflatten(1, (-1, _PIECE))


def _pick_place(weights_RK: Tensor, marks_R1: Tensor) -> Tensor:
    """Return the first place whose running sum is above the mark; one with weight, whatever."""
    sums_RK = weights_RK.double().cumsum(-1)
    totals_R1 = sums_RK[:, -1:]
    # A mark rounded up to the total would choose what has no weight.
    below_R1 = torch.nextafter(totals_R1, torch.zeros_like(totals_R1))
    marks_R1 = torch.minimum(marks_R1, below_R1).clamp_min(0.0)
    return torch.searchsorted(sums_RK, marks_R1, right=True)[:, 0]


def _find_logprobs(
    logits_RV: Tensor, histories: Sequence[History], rows: Sequence[int], ids: Sequence[int]
) -> list[Drawn]:
    logprobs_WV = logits_RV[list(rows)].log_softmax(-1)
    most = max(histories[row].sampling.num_logprobs or 0 for row in rows)
    values_WK, top_WK = logprobs_WV.topk(min(most, logprobs_WV.shape[1]), dim=-1)
    values, tops = values_WK.tolist(), top_WK.tolist()
    drawn = []
    for index, row in enumerate(rows):
        num = histories[row].sampling.num_logprobs or 0
        top = tuple(zip(tops[index][:num], values[index][:num], strict=True))
        drawn.append(Drawn(ids[row], float(logprobs_WV[index, ids[row]]), top))
    return drawn


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor([[value] for value in values], device=device, dtype=torch.float32)
