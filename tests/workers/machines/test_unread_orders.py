"""One machine's order that a node of another age cannot read: it spoils no other's."""

import json

import pytest
from pydantic import ValidationError

from tests.workers.machines.test_plan import order
from workers.config import NodeConfig
from workers.machines.host import MachineHost
from workers.machines.orders import MachineAnswer, MachinePhase

OURS, THEIRS = order("ours"), order("theirs")


def answer(**changes: object) -> MachineAnswer:
    """What a studio says of two machines, one of them in words of its own."""
    strange = {**THEIRS.model_dump(mode="json"), "life": 3, "tenant": "No Such Form", **changes}
    said = {"orders": [OURS.model_dump(mode="json"), strange]}
    return MachineAnswer.model_validate_json(json.dumps(said))


class Studio:
    """Says one thing after the other."""

    def __init__(self, *answers: MachineAnswer) -> None:
        self.answers = list(answers)

    async def report_machines(self, token: str, body: bytes) -> MachineAnswer:
        return self.answers.pop(0)


@pytest.fixture
def make_host(tmp_path):
    def make(*answers: MachineAnswer) -> MachineHost:
        config = NodeConfig("http://127.0.0.1:1", "node_x", "redis://x", "n1", tmp_path)
        host = MachineHost(config, Studio(*answers))
        host._memory.create()
        return host

    return make


def test_the_others_are_read_and_it_is_told_which_field_is_strange():
    read = answer()
    (unread,) = read.unread
    assert read.orders == (OURS,)
    assert (unread.machine, unread.life, unread.start) == ("theirs", 3, 1)
    assert unread.fields == ("tenant",)


def test_life_and_start_that_are_strange_too_are_not_guessed():
    (unread,) = answer(life="one", start=-1).unread
    assert (unread.life, unread.start) == (0, 0)
    assert set(unread.fields) == {"life", "start", "tenant"}


def test_one_that_does_not_say_which_machine_it_is_of_is_no_answer():
    with pytest.raises(ValidationError, match="machine"):
        answer(machine="../x")


async def test_a_machine_goes_on_by_its_last_order(make_host):
    host = make_host(MachineAnswer(orders=(OURS, THEIRS)), answer())
    for _ in range(2):
        await host.tell_once()
    assert host._memory.read_orders() == [OURS, THEIRS]


async def test_it_stops_where_that_much_can_be_read(make_host):
    host = make_host(MachineAnswer(orders=(THEIRS,)), answer(is_running=False), answer())
    await host.tell_once()
    await host.tell_once()
    assert [each.is_running for each in host._orders] == [True, False]


async def test_one_that_was_never_readable_is_told_of_and_not_ended(make_host, monkeypatch):
    host = make_host(answer())
    seen = []
    monkeypatch.setattr(host._reconciler, "tend_spares", lambda wish: None)
    monkeypatch.setattr(host._reconciler, "list_strays", lambda orders: ("theirs", "nobodys"))
    monkeypatch.setattr(host._reconciler, "pass_once", lambda *given: seen.append(given) or [])
    await host.tell_once()
    (state,), strays = host._reconcile()
    assert seen == [([OURS], {"theirs"})]
    assert (state.machine, state.life, state.phase) == ("theirs", 3, MachinePhase.FAILED)
    assert "cannot read tenant" in state.message
    assert strays == ("nobodys",)
