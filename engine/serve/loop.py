"""The one thread that makes tokens: plan, compute, draw, hand over, and again.

Where a decoder goes ahead, the step behind one that is under way is asked for first (`ahead`).

Whatever fails inside a request ends that request: a step that raises is done again in halves until
the request it fails on is alone. Between steps the thread does the other work on the decoder, such
as filling an adapter's slot. It knows nothing of HTTP, of names or of text.
"""

import atexit
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from engine.serve.ahead import Flight, launch, may_fly
from engine.serve.backend import EmbedFailed, FinishReason, QueueFull, ServerClosing, WaitTooLong
from engine.serve.batches import make_batch
from engine.serve.decoder.step import Decoder
from engine.serve.masks import MaskWriter
from engine.serve.pace import Pace
from engine.serve.plan import Chunk, Planner, Stream
from engine.serve.sampling import Drawn, draw_tokens
from engine.serve.tickets import AnswerTicket, EmbedTicket, Ticket
from engine.serve.writer import FAILED, Said, Writer

T = TypeVar("T")
Clock = Callable[[], float]
Chunks = Sequence[Chunk]


@dataclass(frozen=True)
class LineLimits:
    """Who may wait."""

    max_waiting: int
    max_waiting_of_tenant: int | None = None


@dataclass
class Counts:
    """What happened so far."""

    num_steps: int = 0
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_tokens: int = 0
    num_finished: int = 0
    num_failed: int = 0
    busy_s: float = 0.0


class StepLoop:
    """Owns the decoder, the planner and the thread that may touch them."""

    def __init__(
        self, decoder: Decoder, planner: Planner, limits: LineLimits, clock: Clock = time.monotonic
    ) -> None:
        self.counts = Counts()
        self._decoder = decoder
        self._planner = planner
        self._limits = limits
        self._clock = clock
        self._pace = Pace()
        self._wake = threading.Condition()  # guards the planner and what follows
        self._tickets: dict[Stream, Ticket] = {}
        self._released: dict[Ticket, tuple[FinishReason, str]] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._progress_at = clock()
        self._close_by: float | None = None
        self._flight: Flight | None = None
        self._writer = Writer(self.release)
        self._masks = MaskWriter(decoder.vocab_size)
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()
        # At the end of a program that closes nothing: a thread that Python ends inside C++ takes
        # the whole process down with it.
        atexit.register(self.close)

    def enter(self, ticket: Ticket, deadline_s: float | None = None) -> None:
        """Put a request into the line.

        Raises:
            QueueFull: as many wait as may wait.
            WaitTooLong: its deadline would pass before its turn came.
            ServerClosing: the server is going down.
        """
        with self._wake:
            now = self._clock()
            self._check_entry(ticket.stream, deadline_s)
            ticket.entered_at = now
            ticket.stream.deadline = None if deadline_s is None else now + deadline_s
            if not self._tickets:
                self._progress_at = now
            self._planner.enter(ticket.stream)
            self._tickets[ticket.stream] = ticket
            self._wake.notify()

    def release(self, ticket: Ticket, finish: FinishReason = "abort", message: str = "") -> None:
        """End a request, at once where it waits, and else before the next step; from any thread."""
        with self._wake:
            if self._tickets.get(ticket.stream) is not ticket:
                return
            if not ticket.stream.is_running:
                self._end(ticket, finish, message)
            else:
                self._released.setdefault(ticket, (finish, message))
                self._wake.notify()

    def between_steps(self, work: Callable[[Decoder], T]) -> T:
        """Run `work` on the decoding thread and return, or raise, what it does."""
        outcome: Future[T] = Future()

        def order() -> None:
            try:
                outcome.set_result(work(self._decoder))
            except BaseException as error:  # handed over: it is raised where it was asked for
                outcome.set_exception(error)

        with self._wake:
            if self._close_by is not None:
                raise ServerClosing
            self._orders.append(order)
            self._wake.notify()
        return outcome.result()

    def count_now(self) -> tuple[int, int, int, int]:
        """Return how many run and wait, how many blocks are used, and preemptions so far."""
        with self._wake:
            planner = self._planner
            used = planner.pool.num_used
            return planner.num_running, planner.num_waiting, used, planner.num_preemptions

    def measure_age_s(self) -> float:
        """Return the time since the last step ended, or since there is work; 0 when idle."""
        with self._wake:
            return self._clock() - self._progress_at if self._tickets else 0.0

    def is_healthy(self) -> bool:
        """Say whether its threads live. How long a step may take, `metrics.Watchdog` judges."""
        return self._thread.is_alive() and self._writer.is_alive()

    def close(self, drain_s: float = 0.0) -> None:
        """Take nobody more, go on for up to `drain_s`, abort who is left and end the thread."""
        atexit.unregister(self.close)
        with self._wake:
            self._close_by = self._clock() + drain_s
            self._wake.notify()
        self._thread.join()
        self._writer.close()
        self._masks.close()

    def _check_entry(self, stream: Stream, deadline_s: float | None) -> None:
        if self._close_by is not None:
            raise ServerClosing
        planner, limits, pace = self._planner, self._limits, self._pace
        if planner.num_waiting >= limits.max_waiting:
            raise QueueFull(limits.max_waiting, self._predict_retry_s())
        most = limits.max_waiting_of_tenant
        if most is not None and planner.count_waiting_of(stream.tenant) >= most:
            raise QueueFull(most, self._predict_retry_s())
        if deadline_s is None:
            return
        wait_s = pace.predict_wait_s(planner.count_ahead(pace.tokens_of_answer))
        if wait_s >= deadline_s:
            raise WaitTooLong(wait_s, deadline_s, self._predict_retry_s())

    def _predict_retry_s(self) -> int:
        ahead = self._planner.count_ahead(self._pace.tokens_of_answer)
        return self._pace.predict_retry_s(ahead)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._has_work)
                if self._is_closed():
                    break
                orders, self._orders = self._orders, deque()
            for order in orders:
                order()
            try:
                self._do_step()
            except Exception:  # this thread's outermost frame: whoever comes next is served
                traceback.print_exc()
                self._end_all("error", FAILED)
        for order in self._orders:
            order()
        self._end_all("abort", "The server went down.")

    def _has_work(self) -> bool:
        return bool(self._orders or self._tickets or self._close_by is not None)

    def _is_closed(self) -> bool:
        if self._close_by is None:
            return False
        return not self._tickets or self._clock() >= self._close_by

    def _do_step(self) -> None:
        started_at = self._clock()
        self._masks.forget()
        with self._wake:
            self._end_released(started_at)
            flight, self._flight = self._flight, None
            if not self._tickets:
                return
            chunks = self._planner.plan() if flight is None else self._plan_ahead(flight)
        if self._decoder.goes_ahead:
            self._flight = self._launch(chunks, started_at, flight)
        if flight is not None:
            self._settle_flight(flight)
        elif self._flight is None:
            self._compute_now(chunks, started_at)

    def _plan_ahead(self, flight: Flight) -> list[Chunk]:
        """Plan the step behind one under way, for those whose last token it does not make."""
        going_on = [
            chunk
            for chunk, ticket in zip(flight.chunks, flight.tickets, strict=True)
            if self._is_here(ticket) and ticket.num_tokens + 1 < ticket.stream.max_tokens
        ]
        return self._planner.plan_ahead(going_on)

    def _launch(self, chunks: Chunks, now: float, before: Flight | None) -> Flight | None:
        tickets = [self._tickets[chunk.stream] for chunk in chunks]
        if not chunks or (before is None and not may_fly(chunks, tickets)):
            return None
        for ticket in tickets:
            ticket.started_at = now if ticket.started_at is None else ticket.started_at
        answers = [ticket for ticket in tickets if isinstance(ticket, AnswerTicket)]
        return launch(self._decoder, chunks, answers, now, before)

    def _settle_flight(self, flight: Flight) -> None:
        """Read the tokens of a step, and go on with the answers that did not end meanwhile."""
        token_ids = flight.tokens.read()
        with self._wake:  # before it was asked for, the device was busy with the one before
            took_s = self._clock() - max(flight.asked_at, self._progress_at)
        said: list[Said] = []
        for chunk, ticket, token_id in zip(flight.chunks, flight.tickets, token_ids, strict=True):
            if not self._is_here(ticket):
                continue
            ticket.charge(took_s / len(token_ids), is_decode=ticket.first_at is not None)
            self._mark([chunk])
            no_number = ValueError("logits are not finite")
            outcome = no_number if token_id is None else Drawn(token_id)
            if (news := self._take(ticket, outcome)) is not None:
                said.append(news)
        self._end_step(said, [], len(token_ids), took_s)

    def _is_here(self, ticket: Ticket) -> bool:
        return self._tickets.get(ticket.stream) is ticket

    def _compute_now(self, chunks: Chunks, started_at: float) -> None:
        assert chunks, "requests are here and none can go on"
        charged = []
        for chunk in chunks:
            ticket = self._tickets[chunk.stream]
            if ticket.started_at is None:
                ticket.started_at = started_at
            charged.append((ticket, chunk.count, ticket.first_at is not None))
        texts = [chunk for chunk in chunks if self._is_text(chunk)]
        answers = [chunk for chunk in chunks if not self._is_text(chunk)]
        embedded: list[EmbedTicket] = []
        for part, states_NE in self._compute(texts, self._embed):
            embedded += self._settle_texts(part, states_NE)
        said: list[Said] = []
        for part, logits_RV in self._compute(answers, self._forward):
            said += self._settle_answers(part, logits_RV)
        took_s = self._clock() - started_at
        num_computed = sum(chunk.count for chunk in chunks)
        for ticket, count, is_decode in charged:
            ticket.charge(took_s * count / num_computed, is_decode=is_decode)
        self._end_step(said, embedded, num_computed, took_s)

    def _end_step(
        self, said: list[Said], embedded: list[EmbedTicket], num_computed: int, took_s: float
    ) -> None:
        self._writer.put(said)
        with self._wake:
            for text in embedded:
                self._end(text, "stop")
            self._progress_at = self._clock()
            self.counts.num_steps += 1
            self.counts.busy_s += took_s
            self._pace.record_step(num_computed, took_s)

    def _is_text(self, chunk: Chunk) -> bool:
        return isinstance(self._tickets[chunk.stream], EmbedTicket)

    def _forward(self, chunks: Chunks) -> Tensor:
        batch = make_batch(chunks, self._list_slots(chunks))
        self._masks.begin(ticket.matcher for ticket in self._list_drawing(chunks))
        return self._decoder.forward(batch)

    def _embed(self, chunks: Chunks) -> Tensor:
        slots = self._list_slots(chunks)
        return self._decoder.embed(make_batch(chunks, slots, wants_all_rows=True))

    def _list_drawing(self, chunks: Chunks) -> list[AnswerTicket]:
        """Return the answers whose next token is drawn after these chunks, in their order."""
        tickets = [self._tickets[chunk.stream] for chunk in chunks if chunk.is_last]
        return [ticket for ticket in tickets if isinstance(ticket, AnswerTicket)]

    def _list_slots(self, chunks: Chunks) -> list[int]:
        return [self._tickets[chunk.stream].slot for chunk in chunks]

    def _compute(
        self, chunks: Chunks, run: Callable[[Chunks], Tensor]
    ) -> list[tuple[Chunks, Tensor]]:
        """Compute chunks together; where that raises, in halves, until one alone fails and ends."""
        if not chunks:
            return []
        try:
            return [(chunks, run(chunks))]
        except Exception as error:
            if len(chunks) == 1:
                traceback.print_exception(error)
                self._fail(self._tickets[chunks[0].stream])
                return []
        middle = len(chunks) // 2
        return self._compute(chunks[:middle], run) + self._compute(chunks[middle:], run)

    def _settle_texts(self, chunks: Chunks, states_NE: Tensor) -> list[EmbedTicket]:
        """Add up what was computed; return whose text is read to its end."""
        self._mark(chunks)
        done = []
        parts = states_NE.split([chunk.count for chunk in chunks])
        for chunk, part_NE in zip(chunks, parts, strict=True):
            ticket = self._tickets[chunk.stream]
            assert isinstance(ticket, EmbedTicket)
            ticket.add(chunk.start, part_NE)
            if chunk.is_last:
                done.append(ticket)
        return done

    def _settle_answers(self, chunks: Chunks, logits_RV: Tensor) -> list[Said]:
        self._mark(chunks)
        tickets = self._list_drawing(chunks)
        outcomes = self._draw(tickets, logits_RV) if tickets else []
        return [
            said
            for ticket, outcome in zip(tickets, outcomes, strict=True)
            if (said := self._take(ticket, outcome)) is not None
        ]

    def _mark(self, chunks: Chunks) -> None:
        with self._wake:
            for chunk in chunks:
                self._planner.mark_computed(chunk)

    def _draw(
        self, tickets: Sequence[AnswerTicket], logits_RV: Tensor
    ) -> list[Drawn] | list[Drawn | Exception]:
        """Draw for all at once, or where that fails one by one, so that one fails alone."""
        try:
            return self._draw_together(tickets, logits_RV)
        except Exception:  # told below, with the one that it belongs to
            outcomes: list[Drawn | Exception] = []
        for row, ticket in enumerate(tickets):
            try:
                outcomes += self._draw_together([ticket], logits_RV[row : row + 1])
            except Exception as error:
                outcomes.append(error)
        return outcomes

    @torch.inference_mode()
    def _draw_together(self, tickets: Sequence[AnswerTicket], logits_RV: Tensor) -> list[Drawn]:
        masks_RV = self._masks.collect([ticket.matcher for ticket in tickets])
        if masks_RV is not None:
            masks_RV = masks_RV.to(logits_RV.device)
        return draw_tokens(logits_RV, [ticket.history for ticket in tickets], masks_RV)

    def _take(self, ticket: AnswerTicket, outcome: Drawn | Exception) -> Said | None:
        """Go on with an answer by what was drawn, or end it where that failed."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            finish = ticket.take(outcome)
        except Exception as error:
            traceback.print_exception(error)
            self._fail(ticket)
            return None
        now = self._clock()
        if ticket.first_at is None:
            ticket.first_at = now
            self.counts.num_prompt_tokens += ticket.stream.num_prompt_tokens
            self.counts.num_cached_tokens += ticket.stream.num_cached
        self.counts.num_tokens += 1
        if finish is not None:
            with self._wake:
                self._take_out(ticket, finish)
                self._pace.record_answer(ticket.num_tokens)
        return Said(ticket, outcome, finish, at=now)

    def _fail(self, ticket: Ticket) -> None:
        with self._wake:
            self._end(ticket, "error", FAILED)

    def _end_released(self, now: float) -> None:
        for ticket, (finish, message) in self._released.items():
            if ticket.stream in self._tickets:
                self._end(ticket, finish, message)
        self._released.clear()
        for stream in self._planner.list_late(now):
            self._end(self._tickets[stream], "abort", "The deadline of this request has passed.")

    def _end_all(self, finish: FinishReason, message: str) -> None:
        with self._wake:
            for ticket in list(self._tickets.values()):
                self._end(ticket, finish, message)

    def _end(self, ticket: Ticket, finish: FinishReason, message: str = "") -> None:
        """Let go of a request and tell its owner."""
        self._take_out(ticket, finish)
        if isinstance(ticket, AnswerTicket):
            self._writer.put([Said(ticket, None, finish, message, self._clock())])
            return
        assert isinstance(ticket, EmbedTicket)
        if finish == "stop":
            assert ticket.sum_E is not None
            ticket.outcome.set_result(ticket.sum_E / ticket.stream.num_prompt_tokens)
        else:
            code = "failed" if finish == "error" else "aborted"
            is_closing = finish == "abort" and self._close_by is not None
            refused = ServerClosing() if is_closing else EmbedFailed(code, message)
            ticket.outcome.set_exception(refused)

    def _take_out(self, ticket: Ticket, finish: FinishReason) -> None:
        del self._tickets[ticket.stream]
        self._planner.leave(ticket.stream, is_poisoned=finish == "error")
        self.counts.num_finished += finish != "error"
        self.counts.num_failed += finish == "error"
