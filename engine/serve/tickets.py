"""Requests on their way through the step loop: an answer being made, or a text being embedded."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from engine.serve.answer_text import Decode
from engine.serve.backend import FinishReason, OnPiece
from engine.serve.constraints import Matcher
from engine.serve.plan import Stream
from engine.serve.sampling import Drawn, History


@dataclass(eq=False, kw_only=True)
class Ticket:
    """What is common to both. The step loop's thread owns it once it has entered."""

    stream: Stream
    slot: int = -1
    """Of its adapter; -1 is the bare base."""
    entered_at: float = field(default=0.0, init=False)
    started_at: float | None = field(default=None, init=False)
    """When its first tokens were computed."""
    first_at: float | None = field(default=None, init=False)
    """When its first token was drawn."""
    prefill_s: float = field(default=0.0, init=False)
    """Its share of the steps up to its first token, by tokens; `decode_s` of those after."""
    decode_s: float = field(default=0.0, init=False)

    def charge(self, seconds: float, *, is_decode: bool) -> None:
        """Add its share of a step."""
        if is_decode:
            self.decode_s += seconds
        else:
            self.prefill_s += seconds


@dataclass(eq=False, kw_only=True)
class AnswerTicket(Ticket):
    """An answer being made."""

    history: History
    end_ids: frozenset[int]
    decode: Decode
    on_piece: OnPiece
    on_end: Callable[[], None]
    """Called once by the writer, when nothing of it is left here."""
    matcher: Matcher | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of the answer that are drawn."""
        return self.history.num_drawn

    def take(self, drawn: Drawn) -> FinishReason | None:
        """Go on by a token; say whether the answer ends with it.

        Raises:
            ValueError: its grammar does not allow the token.
        """
        self.history.add(drawn.token_id)
        if drawn.token_id in self.end_ids:
            return "stop"
        if self.matcher is not None:
            self.matcher.take(drawn.token_id)
            if self.matcher.is_complete:
                return "stop"
        if self.num_tokens >= self.stream.max_tokens:
            return "length"
        self.stream.token_ids.append(drawn.token_id)
        return None


@dataclass(eq=False, kw_only=True)
class EmbedTicket(Ticket):
    """A text being embedded: the sum of its last hidden states so far, E wide."""

    outcome: Future[Tensor] = field(default_factory=Future, init=False)
    sum_E: Tensor | None = field(default=None, init=False)

    def add(self, start: int, states_NE: Tensor) -> None:
        """Add the hidden states of some positions; those from 0 begin anew, after a preemption."""
        part_E = states_NE.float().sum(0)
        self.sum_E = part_E if self.sum_E is None or start == 0 else self.sum_E + part_E
