"""The line of requests: fair turns, bounded waiting, and one bad request that harms no other."""

import threading

import pytest

from engine.models.tiny import make_model
from engine.serve.adapters import AdapterRack
from engine.serve.backend import Piece, QueueFull, ServerClosing
from engine.serve.scheduler import MAX_ACTIVE, TURN_TOKENS, Scheduler, Ticket
from tests.engine.serve.tiny_models import DEADLINE_S, Reader


class Script:
    """Stands for an answer: says its name a number of times; fails at the end where told so."""

    num_prompt_tokens = 1

    def __init__(self, name: str, length: int, said: list[str], *, fails: bool = False) -> None:
        self.num_tokens = 0
        self._name, self._length, self._said, self._fails = name, length, said, fails

    def advance(self, model) -> Piece:
        self.num_tokens += 1
        self._said.append(self._name)
        is_last = self.num_tokens == self._length
        if is_last and self._fails:
            raise RuntimeError("as told")
        return Piece(self._name, self.num_tokens, "stop" if is_last else None)


class Gate:
    """Holds the decoding thread at the first piece of an answer until opened."""

    def __init__(self) -> None:
        self.reader = Reader()
        self._opened = threading.Event()

    def __call__(self, piece: Piece) -> None:
        self.reader.pieces.put(piece)
        assert self._opened.wait(DEADLINE_S)

    def wait_until_held(self) -> None:
        self.reader.next()

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def scheduler():
    scheduler = Scheduler(AdapterRack(make_model()), max_waiting=3)
    yield scheduler
    scheduler.close()


@pytest.fixture
def gate(scheduler):
    """The decoding thread stands still, with one endless answer in hand."""
    gate = Gate()
    enter(scheduler, Script("x", 10**9, []), gate)
    gate.wait_until_held()
    yield gate
    gate.open()


def enter(scheduler, answer, on_piece, on_end=lambda: None) -> Ticket:
    ticket = Ticket(answer, None, on_piece, on_end)
    scheduler.enter(ticket)
    return ticket


def test_answers_take_turns(scheduler, gate):
    said: list[str] = []
    readers = [Reader(), Reader()]
    for name, reader in zip("ab", readers, strict=True):
        enter(scheduler, Script(name, 50, said), reader.pieces.put)
    gate.open()
    for reader in readers:
        reader.read_all()
    leads = [abs(said[:n].count("a") - said[:n].count("b")) for n in range(len(said))]
    assert max(leads) <= TURN_TOKENS


def test_one_more_than_may_wait_is_refused_with_a_time_to_come_back(scheduler, gate):
    for _ in range(3):
        enter(scheduler, Script("a", 1, []), lambda piece: None)
    with pytest.raises(QueueFull) as refusal:
        enter(scheduler, Script("a", 1, []), lambda piece: None)
    assert refusal.value.retry_after_s >= 1


def test_an_abort_while_waiting_frees_the_place(scheduler, gate):
    ended = threading.Event()
    tickets = [enter(scheduler, Script("a", 1, []), lambda piece: None) for _ in range(2)]
    tickets.append(enter(scheduler, Script("a", 1, []), lambda piece: None, ended.set))
    tickets[-1].abort()
    enter(scheduler, Script("a", 1, []), lambda piece: None)
    gate.open()
    assert ended.wait(DEADLINE_S)


def test_an_abort_ends_an_answer_under_way(scheduler):
    reader = Reader()
    ticket = enter(scheduler, Script("a", 10**9, []), reader.pieces.put)
    reader.next()
    ticket.abort()
    assert reader.read_all()[1].finish == "abort"


def test_more_than_may_be_active_are_all_answered():
    scheduler = Scheduler(AdapterRack(make_model()), max_waiting=100)
    readers = [Reader() for _ in range(3 * MAX_ACTIVE)]
    for reader in readers:
        enter(scheduler, Script("a", 3, []), reader.pieces.put)
    assert [reader.read_all()[0] for reader in readers] == ["aaa"] * len(readers)
    scheduler.close()


def test_a_request_that_fails_ends_alone(scheduler, gate):
    good, bad = Reader(), Reader()
    enter(scheduler, Script("b", 3, [], fails=True), bad.pieces.put)
    enter(scheduler, Script("g", 9, []), good.pieces.put)
    gate.open()
    assert bad.read_all()[1].finish == "error"
    assert good.read_all()[0] == "g" * 9
    assert scheduler.is_alive()


def test_work_between_turns_hands_back_its_result_and_its_error(scheduler):
    assert scheduler.between_turns(lambda rack: 3) == 3
    with pytest.raises(ZeroDivisionError):
        scheduler.between_turns(lambda rack: 1 // 0)
    assert scheduler.is_alive()


def test_closing_aborts_what_is_under_way_and_refuses_what_comes(gate):
    scheduler = Scheduler(AdapterRack(make_model()), max_waiting=3)
    reader = Reader()
    enter(scheduler, Script("a", 10**9, []), reader.pieces.put)
    reader.next()
    scheduler.close()
    assert reader.read_all()[1].finish == "abort"
    with pytest.raises(ServerClosing):
        enter(scheduler, Script("a", 1, []), lambda piece: None)
    with pytest.raises(ServerClosing):
        scheduler.between_turns(lambda rack: None)
