"""Steps that are asked for before anybody has read the tokens of the step before.

A GPU does what it is told in order. While it computes one step, the next can be told to it with the
tokens where they lie, and reading, judging and handing out of the first cost it nothing: it is
never idle between two steps. Whoever turns out to have ended with the first is computed once more
for nothing. R rows, V vocabulary.
"""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.serve.batches import make_batch
from engine.serve.decoder.step import Decoder
from engine.serve.plan import Chunk
from engine.serve.sampling import draw_unread, waits_for_draw, wants_logprobs
from engine.serve.tickets import AnswerTicket, Ticket

_NOTHING = -1
"""In the place of a token that could not be drawn."""


class UnreadTokens:
    """Tokens of one step, on their way from the device."""

    def __init__(self, ids_R: Tensor, is_finite_R: Tensor) -> None:
        """Begin to fetch them; what the device is asked for later is not waited for."""
        self.ids_R = ids_R
        told_R = torch.where(is_finite_R, ids_R, _NOTHING)
        self._is_there: torch.cuda.Event | None = None
        if told_R.is_cuda:
            self._told_R = torch.empty(told_R.shape, dtype=told_R.dtype, pin_memory=True)
            with torch.cuda.device(told_R.device):
                self._told_R.copy_(told_R, non_blocking=True)
                self._is_there = torch.cuda.Event()
                self._is_there.record()
        else:
            self._told_R = told_R

    def read(self) -> list[int | None]:
        """Wait for them; None is a row whose logits were no numbers."""
        if self._is_there is not None:
            self._is_there.synchronize()
        return [None if each == _NOTHING else each for each in self._told_R.tolist()]


@dataclass(eq=False)
class Flight:
    """A step under way: one token for each of some answers."""

    chunks: Sequence[Chunk]
    tickets: Sequence[AnswerTicket]
    """Of each chunk."""
    tokens: UnreadTokens
    asked_at: float


def may_fly(chunks: Sequence[Chunk], tickets: Sequence[Ticket]) -> bool:
    """Say whether a step's tokens can be drawn where they are made, and the next be told of them.

    Not so where prompts are read; where a draw looks at the tokens before it: a grammar, a penalty;
    where it tells more than a token; nor where it would wait for the very step that it is of.
    """
    return all(chunk.count == 1 and chunk.is_last for chunk in chunks) and all(
        isinstance(ticket, AnswerTicket) and _is_plain(ticket) for ticket in tickets
    )


def launch(
    decoder: Decoder,
    chunks: Sequence[Chunk],
    tickets: Sequence[AnswerTicket],
    asked_at: float,
    before: Flight | None = None,
) -> Flight | None:
    """Ask for a step, with `before` the one behind it; None, and a trace, where that raises."""
    try:
        with torch.inference_mode():
            unread = None if before is None else _pick(before, tickets)
            slots = [ticket.slot for ticket in tickets]
            logits_RV = decoder.forward(make_batch(chunks, slots, unread_ids_N=unread))
            histories = [ticket.history for ticket in tickets]
            drawn = draw_unread(logits_RV, histories, num_unread=0 if before is None else 1)
            return Flight(chunks, tickets, UnreadTokens(*drawn), asked_at)
    except Exception:  # the next step is planned anew, and finds whose fault it is
        traceback.print_exc()
        return None


def _pick(before: Flight, tickets: Sequence[AnswerTicket]) -> Tensor:
    ids_R = before.tokens.ids_R
    if len(tickets) == len(before.tickets):
        return ids_R
    rows = {ticket: row for row, ticket in enumerate(before.tickets)}
    return ids_R[torch.tensor([rows[ticket] for ticket in tickets]).to(ids_R.device)]


def _is_plain(ticket: AnswerTicket) -> bool:
    history = ticket.history
    sampling = history.sampling
    is_changed = ticket.matcher is not None or history.has_penalty or sampling.logit_bias
    return not (is_changed or wants_logprobs(sampling) or waits_for_draw(sampling))
