"""Turns drawn tokens into text and hands the pieces out, on a thread of its own.

Only here is text looked at, so only here is a stop text found: the step loop is told then, and may
have drawn a token or two more, which nobody sees.
"""

import queue
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from engine.serve.answer_text import StopText, TokenText
from engine.serve.backend import FinishReason, Piece, TokenLogprob, Usage
from engine.serve.sampling import Drawn, wants_logprobs
from engine.serve.tickets import AnswerTicket

FAILED = "The model failed on this request; the server's log says why."


@dataclass(frozen=True)
class Said:
    """News of one answer: a token, or that the step loop has let go of it, or both."""

    ticket: AnswerTicket
    drawn: Drawn | None = None
    finish: FinishReason | None = None
    message: str = ""
    at: float = 0.0


class Writer:
    """Owns the text of every answer under way."""

    def __init__(self, release: Callable[[AnswerTicket, FinishReason], None]) -> None:
        """`release` tells the step loop that an answer is over."""
        self._release = release
        self._news: queue.SimpleQueue[Sequence[Said] | None] = queue.SimpleQueue()
        self._texts: dict[AnswerTicket, _Text] = {}
        self._over: set[AnswerTicket] = set()  # answered in full, not yet let go by the loop
        self._thread = threading.Thread(target=self._run, name="write", daemon=True)
        self._thread.start()

    def put(self, news: Sequence[Said]) -> None:
        """Hand over what a step brought."""
        self._news.put(news)

    def is_alive(self) -> bool:
        """Say whether the thread still runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Say what is still to be said and end the thread."""
        self._news.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (news := self._news.get()) is not None:
            for said in news:
                self._pass_on(said)

    def _pass_on(self, said: Said) -> None:
        ticket = said.ticket
        try:
            if ticket not in self._over:
                self._say(said)
        except Exception:  # this thread's outermost frame: one bad reader must not end the others
            traceback.print_exc()
            self._end_badly(said)
        if said.finish is not None:
            self._texts.pop(ticket, None)
            self._over.discard(ticket)
            try:
                ticket.on_end()
            except Exception:  # as above
                traceback.print_exc()

    def _say(self, said: Said) -> None:
        text = self._texts.get(said.ticket)
        if text is None:
            text = self._texts[said.ticket] = _Text(said.ticket)
        piece = text.add(said)
        said.ticket.on_piece(piece)
        if piece.finish is not None:
            self._end(said, piece.finish)

    def _end(self, said: Said, finish: FinishReason) -> None:
        self._over.add(said.ticket)
        if said.finish is None:
            self._release(said.ticket, finish)

    def _end_badly(self, said: Said) -> None:
        num_tokens = said.ticket.num_tokens
        with suppress(Exception):  # the reader may be what failed
            said.ticket.on_piece(Piece("", num_tokens, "error", message=FAILED))
        self._end(said, "error")


class _Text:
    """The text of one answer."""

    def __init__(self, ticket: AnswerTicket) -> None:
        self._ticket = ticket
        self._num_tokens = 0
        self._tokens = TokenText(ticket.decode)
        self._stops = StopText(ticket.history.sampling.stop)

    def add(self, said: Said) -> Piece:
        """Return the piece that some news makes, the last one where the answer ends with it."""
        text = ""
        logprobs: tuple[TokenLogprob, ...] = ()
        if said.drawn is not None:
            self._num_tokens += 1
            if said.drawn.token_id not in self._ticket.end_ids:
                text = self._stops.push(self._tokens.push(said.drawn.token_id))
                logprobs = self._shape_logprobs(said.drawn)
        finish = said.finish
        if finish is not None and finish != "error" and not self._stops.is_hit:
            text += self._stops.push(self._tokens.flush())
            text += self._stops.flush()
        if self._stops.is_hit and finish != "error":
            finish = "stop"
        is_first = said.drawn is not None and self._num_tokens == 1
        usage = self._count(said.at) if is_first or finish is not None else None
        return Piece(text, self._num_tokens, finish, logprobs, usage, said.message)

    def _shape_logprobs(self, drawn: Drawn) -> tuple[TokenLogprob, ...]:
        if not wants_logprobs(self._ticket.history.sampling):
            return ()
        decode = self._ticket.decode
        top = tuple((token_id, decode([token_id]), value) for token_id, value in drawn.top)
        text = decode([drawn.token_id])
        return (TokenLogprob(drawn.token_id, text, drawn.logprob or 0.0, top),)

    def _count(self, ended_at: float) -> Usage:
        ticket, stream = self._ticket, self._ticket.stream
        started_at = ended_at if ticket.started_at is None else ticket.started_at
        return Usage(
            num_prompt_tokens=stream.num_prompt_tokens,
            num_cached_tokens=stream.num_cached,
            num_tokens=self._num_tokens,
            queue_s=started_at - ticket.entered_at,
            prefill_s=ticket.prefill_s,
            decode_s=ticket.decode_s,
        )
