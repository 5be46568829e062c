"""What a node does next for its dev machines, whatever it finds; against a simulated engine."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.machines.orders import MachineLimits, MachineOrder
from workers.machines.plan import Container, Deed, Done, Step, plan_next

LIMITS = MachineLimits(cpus=1, memory_bytes=2**30)


def order(machine="m1", life=1, start=1, is_running=True) -> MachineOrder:
    return MachineOrder(
        machine=machine,
        life=life,
        start=start,
        is_running=is_running,
        image="sha256:1",
        hostname="box",
        tenant="u1",
        home="1",
        limits=LIMITS,
    )


def box(status="running", life=1, id="c1", machine="m1") -> Container:
    return Container(id=id, machine=machine, life=life, status=status)


@pytest.mark.parametrize(
    ("wanted", "found", "done", "deeds"),
    [
        (order(), [], Done(), [(Step.CREATE, "")]),
        (order(is_running=False), [], Done(), []),
        (order(), [box("created")], Done(1, 0), [(Step.START, "c1")]),
        (order(), [box("created")], Done(1, 1), [(Step.START, "c1")]),
        (order(), [box()], Done(1, 1), []),
        (order(), [box("exited")], Done(1, 1), []),
        (order(start=2), [box("exited")], Done(1, 1), [(Step.START, "c1")]),
        (order(), [], Done(1, 1), []),
        (order(start=2), [], Done(1, 1), []),
        (order(life=2), [], Done(1, 1), [(Step.CREATE, "")]),
        (order(life=2), [box()], Done(1, 1), [(Step.STOP, "c1")]),
        (order(life=2), [box("exited")], Done(1, 1), [(Step.REMOVE, "c1")]),
        (order(is_running=False), [box()], Done(1, 1), [(Step.STOP, "c1")]),
        (order(is_running=False), [box("paused")], Done(1, 1), [(Step.STOP, "c1")]),
        (order(), [box("dead")], Done(1, 1), [(Step.REMOVE, "c1")]),
        (None, [box()], Done(1, 1), [(Step.STOP, "c1")]),
        (None, [box("created")], Done(1, 1), [(Step.REMOVE, "c1")]),
        (order(), [box("created", id="c1"), box(id="c2")], Done(1, 1), [(Step.REMOVE, "c1")]),
    ],
)
def test_the_next_deed(wanted, found, done, deeds):
    orders = {wanted.machine: wanted} if wanted else {}
    planned = plan_next(orders, found, {"m1": done})
    assert planned == [Deed(step, "m1", container) for step, container in deeds]


@dataclass
class Engine:
    """Containers, as an engine would keep them."""

    containers: dict[str, Container] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    num_made: int = 0
    starts: list[tuple[str, int, int]] = field(default_factory=list)

    def do(self, deed: Deed, orders: dict[str, MachineOrder]) -> None:
        if deed.step is Step.CREATE:
            self.num_made += 1
            wanted = orders[deed.machine]
            name = f"c{self.num_made}"
            self.containers[name] = box("created", wanted.life, name, deed.machine)
            self.done[deed.machine] = Done(wanted.life, self.done.get(deed.machine, Done()).start)
        elif deed.step is Step.START:
            wanted = orders[deed.machine]
            self.starts.append((deed.machine, wanted.life, wanted.start))
            self.done[deed.machine] = replace(self.done[deed.machine], start=wanted.start)
            self._become(deed.container, "running")
        elif deed.step is Step.STOP:
            self._become(deed.container, "exited")
        else:
            assert not self.containers[deed.container].is_up
            del self.containers[deed.container]

    def _become(self, name: str, status: str) -> None:
        self.containers[name] = replace(self.containers[name], status=status)


NAMES = st.sampled_from(["m1", "m2", "m3"])


class Machines(RuleBasedStateMachine):
    """The studio wants, people and faults interfere, and the node goes on step by step."""

    def __init__(self):
        super().__init__()
        self.engine = Engine()
        self.orders: dict[str, MachineOrder] = {}

    @rule(name=NAMES)
    def want(self, name):
        if name not in self.orders:
            self.orders[name] = order(name, life=self.engine.done.get(name, Done()).life + 1)

    @rule(name=NAMES, is_running=st.booleans(), new_life=st.booleans(), new_start=st.booleans())
    def change(self, name, is_running, new_life, new_start):
        if wanted := self.orders.get(name):
            changes = {
                "is_running": is_running,
                "life": wanted.life + new_life,
                "start": wanted.start + new_start,
            }
            self.orders[name] = wanted.model_copy(update=changes)

    @rule(name=NAMES)
    def forget(self, name):
        self.orders.pop(name, None)

    @rule(data=st.data())
    def step(self, data):
        if deeds := self._plan():
            self.engine.do(data.draw(st.sampled_from(deeds)), self.orders)

    @precondition(lambda self: self.engine.containers)
    @rule(data=st.data(), status=st.sampled_from(["exited", "dead", "gone"]))
    def interfere(self, data, status):
        name = data.draw(st.sampled_from(sorted(self.engine.containers)))
        if status == "gone":
            del self.engine.containers[name]
        elif status == "dead" or self.engine.containers[name].is_up:
            self.engine._become(name, status)

    @rule()
    def settle(self):
        for _ in range(40):
            deeds = self._plan()
            if not deeds:
                break
            for deed in deeds:
                self.engine.do(deed, self.orders)
        assert not self._plan(), "the node never comes to rest"
        for container in self.engine.containers.values():
            wanted = self.orders[container.machine]  # nothing that nobody wants is left
            assert container.life == wanted.life
            assert wanted.is_running or not container.is_up
        for name in self.orders:
            ours = [each for each in self.engine.containers.values() if each.machine == name]
            assert len(ours) <= 1

    @invariant()
    def never_two_up(self):
        up = [each.machine for each in self.engine.containers.values() if each.is_up]
        assert len(up) == len(set(up))

    @invariant()
    def no_start_twice(self):
        assert len(self.engine.starts) == len(set(self.engine.starts))

    def _plan(self) -> list[Deed]:
        return plan_next(self.orders, list(self.engine.containers.values()), self.engine.done)


Machines.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMachines = Machines.TestCase
