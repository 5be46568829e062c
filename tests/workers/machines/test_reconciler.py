"""How a node goes about its deeds, against an engine in memory that may take its time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from tests.workers.machines.test_plan import box, order
from workers.machines.memory import MachineMemory
from workers.machines.orders import MachinePhase
from workers.machines.plan import Container
from workers.machines.reconciler import Reconciler


@dataclass
class SlowEngine:
    """Containers in memory; the stop of one waits until it is let."""

    containers: dict[str, Container] = field(default_factory=dict)
    stop_may_end: threading.Event = field(default_factory=threading.Event)
    listed: Callable[[], object] = lambda: None
    """Called after the containers were counted and before that is told."""
    inspected: list[str] = field(default_factory=list)
    """The machines whose containers were looked at, one after the other."""

    def list_containers(self, machines=None):
        there = [
            each
            for each in self.containers.values()
            if machines is None or each.machine in machines
        ]
        self.inspected += [each.machine for each in there]
        self.listed()
        return there

    def create(self, wanted):
        id = f"{wanted.machine}-{wanted.life}"
        self.containers[id] = box("created", wanted.life, id, wanted.machine)
        return id

    def start(self, container, wanted):
        self.containers[container] = replace(self.containers[container], status="running")

    def stop(self, container):
        assert self.stop_may_end.wait(20)
        self.containers[container] = replace(self.containers[container], status="exited")

    def remove(self, container):
        del self.containers[container]

    def __getattr__(self, name):
        if name.startswith(("forget_", "remove_idle_", "refresh_")):
            return lambda *_: None
        raise AttributeError(name)


@pytest.fixture
def engine():
    return SlowEngine()


@pytest.fixture
def reconciler(engine, tmp_path):
    memory = MachineMemory(tmp_path)
    memory.create()
    reconciler = Reconciler(engine, memory)
    yield reconciler
    engine.stop_may_end.set()
    reconciler.close()


def test_a_machine_is_made_and_started_in_one_go(reconciler):
    assert [state.phase for state in reconciler.pass_once([order()])] == [MachinePhase.RUNNING]


def test_one_that_does_not_want_to_end_keeps_no_other_waiting(reconciler, engine):
    reconciler.pass_once([order("slow")])
    stopping = order("slow", is_running=False)
    states = reconciler.pass_once([stopping, order("quick")])
    assert [state.phase for state in states] == [MachinePhase.RUNNING] * 2
    assert reconciler.is_busy
    engine.stop_may_end.set()
    (slow, quick) = reconciler.pass_once([stopping, order("quick")])
    assert (slow.phase, quick.phase) == (MachinePhase.STOPPED, MachinePhase.RUNNING)


def test_a_deed_under_way_is_not_begun_again(reconciler, engine):
    reconciler.pass_once([order()])
    for _ in range(2):
        reconciler.pass_once([order(is_running=False)])
    engine.stop_may_end.set()
    reconciler.pass_once([order(is_running=False)])
    assert not reconciler.is_busy


def test_one_that_is_made_while_its_node_counts_is_not_told_to_be_gone(reconciler, engine):
    made = threading.Event()
    create, engine.create = engine.create, lambda wanted: (made.wait(20), create(wanted))[1]

    def finish() -> None:
        if reconciler.is_busy:
            made.set()
            reconciler.close()

    engine.listed = finish
    (state,) = reconciler.pass_once([order()])
    assert engine.containers and state.phase is MachinePhase.CREATING


def test_a_pass_looks_once_at_each_container_and_again_only_at_what_it_changed(reconciler, engine):
    engine.stop_may_end.set()
    orders = [order(name) for name in ("a", "b", "c")]
    reconciler.pass_once(orders)
    while reconciler.is_busy:
        reconciler.pass_once(orders)
    engine.inspected.clear()
    states = reconciler.pass_once(orders)
    assert engine.inspected == ["a", "b", "c"]
    assert [state.phase for state in states] == [MachinePhase.RUNNING] * 3
    engine.inspected.clear()
    (_, stopped, _) = reconciler.pass_once([orders[0], order("b", is_running=False), orders[2]])
    assert engine.inspected == ["a", "b", "c", "b"]
    assert stopped.phase is MachinePhase.STOPPED
    assert [each.machine for each in reconciler.containers] == ["a", "c", "b"]


def test_one_that_is_spared_is_left_as_it_is_without_an_order(reconciler, engine):
    reconciler.pass_once([order("kept"), order("other")])
    engine.stop_may_end.set()
    for _ in range(3):
        reconciler.pass_once([], {"kept"})
    assert [each.machine for each in engine.containers.values()] == ["kept"]
