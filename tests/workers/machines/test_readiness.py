"""Which ports of a machine answer, before real sockets."""

import socket

import pytest

from workers.machines.orders import MachineLimits, MachineOrder, MachinePhase, MachineState
from workers.machines.readiness import Readiness


def make_order(*ports: int) -> MachineOrder:
    limits = MachineLimits(cpus=1, memory_bytes=2**30)
    return MachineOrder(
        machine="m1", life=1, start=1, is_running=True, image="i", hostname="box", tenant="t",
        home="1", limits=limits, ports=ports,
    )  # fmt: skip


def make_state(**facts) -> MachineState:
    given = {"phase": MachinePhase.RUNNING, "start": 1, "address": "127.0.0.1"} | facts
    return MachineState(machine="m1", life=1, **given)


@pytest.fixture
def readiness():
    readiness = Readiness()
    yield readiness
    readiness.close()


def look(readiness: Readiness, state: MachineState, *ports: int) -> tuple[int, ...]:
    (told,) = readiness.look([make_order(*ports)], [state])
    return told.ready_ports


def test_a_port_that_answered_counts_for_the_whole_start_and_no_other(readiness):
    with (
        socket.create_server(("127.0.0.1", 0)) as tool,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        port, closed = tool.getsockname()[1], other.getsockname()[1]
        other.close()
        assert look(readiness, make_state(), port, closed) == (port,)
    assert look(readiness, make_state(), port, closed) == (port,)
    assert look(readiness, make_state(start=2), port, closed) == ()


def test_a_look_says_nothing_to_what_waits_for_its_first_visitor(readiness):
    with socket.create_server(("127.0.0.1", 0)) as tool:
        look(readiness, make_state(), tool.getsockname()[1])
        tool.settimeout(5)
        visitor, _ = tool.accept()
        with visitor:
            visitor.settimeout(5)
            assert visitor.recv(10) == b""


def test_what_does_not_run_is_not_looked_at(readiness):
    with socket.create_server(("127.0.0.1", 0)) as tool:
        port = tool.getsockname()[1]
        assert look(readiness, make_state(phase=MachinePhase.STOPPED), port) == ()
        assert look(readiness, make_state(address=""), port) == ()
