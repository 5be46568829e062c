"""The one thread that decodes: gives each answer under way its turn, fairly, and no two at once.

Between turns it does the other work on the model, such as loading an adapter. It knows nothing of
HTTP or of names.
"""

import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from engine.serve.adapters import AdapterRack
from engine.serve.backend import FinishReason, OnPiece, Piece, QueueFull, ServerClosing
from engine.serve.decoding import Answer

MAX_ACTIVE = 8  # answers decoded in turns; each holds a cache of its context
TURN_TOKENS = 2  # forward passes of one turn: changing the adapter costs a fifth of one

T = TypeVar("T")


@dataclass(eq=False)
class Ticket:
    """A request's place in the line."""

    answer: Answer
    adapter: str | None
    on_piece: OnPiece
    on_end: Callable[[], None]
    """Called once when the request has left the line, whatever the way."""
    is_aborted: threading.Event = field(default_factory=threading.Event)

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of the rendered conversation."""
        return self.answer.num_prompt_tokens

    def abort(self) -> None:
        """Give up the place; its turn ends after the forward pass under way."""
        self.is_aborted.set()


class Scheduler:
    """Owns the adapter rack and the thread that may touch it."""

    def __init__(self, rack: AdapterRack, *, max_waiting: int) -> None:
        self._rack = rack
        self._max_waiting = max_waiting
        self._wake = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._orders: deque[Callable[[], None]] = deque()
        self._active: deque[Ticket] = deque()  # touched by the thread alone
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    def enter(self, ticket: Ticket) -> None:
        """Put a request at the end of the line.

        Raises:
            QueueFull: as many wait as may wait.
            ServerClosing: the server is going down.
        """
        with self._wake:
            if self._is_closing:
                raise ServerClosing
            waiting = [other for other in self._waiting if not other.is_aborted.is_set()]
            if len(waiting) >= self._max_waiting:
                raise QueueFull(self._max_waiting, retry_after_s=1 + len(waiting) // MAX_ACTIVE)
            self._waiting.append(ticket)
            self._wake.notify()

    def between_turns(self, work: Callable[[AdapterRack], T]) -> T:
        """Run `work` on the decoding thread and return, or raise, what it does."""
        outcome: Future[T] = Future()

        def order() -> None:
            try:
                outcome.set_result(work(self._rack))
            except BaseException as error:  # handed over: it is raised where it was asked for
                outcome.set_exception(error)

        with self._wake:
            if self._is_closing:
                raise ServerClosing
            self._orders.append(order)
            self._wake.notify()
        return outcome.result()

    def is_alive(self) -> bool:
        """Say whether the thread still runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Abort every request and end the thread."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._has_work)
                if self._is_closing:
                    break
                orders, self._orders = self._orders, deque()
                self._admit()
            for order in orders:
                order()
            if self._active:
                self._give_turn(self._active.popleft())
        for order in self._orders:
            order()
        for ticket in [*self._active, *self._waiting]:
            self._end(ticket, "abort")

    def _has_work(self) -> bool:
        return bool(self._is_closing or self._orders or self._active or self._waiting)

    def _admit(self) -> None:
        num_free = min(MAX_ACTIVE - len(self._active), len(self._waiting))
        newcomers = [self._waiting.popleft() for _ in range(num_free)]
        # In front: a newcomer's first token is what its reader waits for.
        self._active.extendleft(reversed(newcomers))

    def _give_turn(self, ticket: Ticket) -> None:
        """Advance one answer a little; it goes to the end of the round unless it is over."""
        try:
            is_over = self._advance(ticket)
        except Exception:  # this thread's outermost frame: one bad request must not end the others
            traceback.print_exc()
            self._end(ticket, "error")
            return
        if not is_over:
            self._active.append(ticket)

    def _advance(self, ticket: Ticket) -> bool:
        for _ in range(TURN_TOKENS):
            if ticket.is_aborted.is_set():
                self._end(ticket, "abort")
                return True
            piece = ticket.answer.advance(self._rack.use(ticket.adapter))
            if piece is None:  # a piece of its prompt was read, which took long enough
                return False
            if piece.finish:
                ticket.on_end()
                ticket.on_piece(piece)
                return True
            if piece.text:
                ticket.on_piece(piece)
        return False

    def _end(self, ticket: Ticket, finish: FinishReason) -> None:
        ticket.on_end()
        ticket.on_piece(Piece("", ticket.answer.num_tokens, finish))
