"""What becomes of machines when their node is set aside, emptied or removed."""

import pytest

from studio.compute.models import Node
from studio.compute.upkeep import cordon_node, drain_node, remove_node, uncordon_node
from studio.core.errors import Conflict
from studio.machines.models import Machine, NodeEngine, Status
from studio.machines.orders import list_orders
from studio.machines.placing import place_machines
from studio.machines.services import start_machine, stop_machine
from tests.factories import make_node
from tests.studio.machines.conftest import have_engine, make_machine, make_running, tell
from workers.machines.orders import MachinePhase

pytestmark = pytest.mark.django_db


def test_an_owner_reads_of_the_drain_before_and_after_it(api, adam, rich, node):
    machine = make_running(rich, node)
    drain_node(by=adam, name="n1", reason="new memory", grace_s=600)
    shown = api(rich).get("/api/machines/box/").json()
    assert shown["status"] == "running" and shown["drain"]["reason"] == "new memory"
    drain_node(by=adam, name="n1", reason="new memory", grace_s=0)
    tell(machine, node, MachinePhase.RUNNING)
    machine = tell(machine, node, MachinePhase.STOPPED)
    assert (machine.status, machine.reason) == (Status.STOPPED, "node_drained")
    assert "new memory" in machine.message and "files are kept" in machine.message
    assert machine.lease.ended_at is not None


def test_a_machine_s_own_clock_shows_the_drain_s_end(adam, rich, node):
    make_running(rich, node, hours=4)
    before = list_orders(node)[0].secrets["machine.json"]
    drain_node(by=adam, name="n1", grace_s=600)
    assert list_orders(Node.objects.get())[0].secrets["machine.json"] != before


def test_a_machine_that_restarts_or_waits_is_drained_too(adam, rich, node):
    running = make_running(rich, node)
    running.status, running.restarts = Status.STOPPING, True
    running.save()
    waiting = make_machine(rich, "waits")
    Machine.objects.filter(pk=waiting.pk).update(node=node)
    drain_node(by=adam, name="n1", grace_s=0)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == (Status.STOPPED, "node_drained")
    assert tell(running, node, MachinePhase.STOPPED).reason == "node_drained"


def test_a_machine_of_a_cordoned_node_waits_for_it_and_says_so(adam, rich, node):
    machine = make_running(rich, node)
    stop_machine(by=rich, machine=machine)
    tell(machine, node, MachinePhase.STOPPED)
    cordon_node(by=adam, name="n1")
    start_machine(by=rich, machine=machine)
    assert place_machines() == 0
    machine.refresh_from_db()
    assert "set aside" in machine.message
    uncordon_node(by=adam, name="n1")
    assert place_machines() == 1


def test_removing_a_node_says_which_machines_lose_their_containers(adam, rich, node):
    machine = make_running(rich, node)
    stop_machine(by=rich, machine=machine)
    tell(machine, node, MachinePhase.STOPPED)
    with pytest.raises(Conflict) as refusal:
        remove_node(by=adam, name="n1")
    assert refusal.value.params["stopped_machines"] == 1
    assert "begin anew" in refusal.value.message


def test_machines_of_a_removed_node_begin_anew_on_another(adam, rich, node):
    machine = make_running(rich, node)
    waiting = make_machine(rich, "waits")
    Machine.objects.filter(pk=waiting.pk).update(node=node)
    remove_node(by=adam, name="n1", is_forced=True)
    machine.refresh_from_db()
    assert (machine.status, machine.reason, machine.node) == ("stopped", "node_removed", None)
    assert machine.life == 2 and machine.lease.ended_at is not None
    assert not NodeEngine.objects.exists()
    other = make_node("n2")
    have_engine(other)
    start_machine(by=rich, machine=machine)
    assert place_machines() == 2
    assert set(Machine.objects.values_list("node__name", flat=True)) == {"n2"}


def test_the_list_of_nodes_shows_the_engine_and_its_machines(api, olga, rich, node):
    make_running(rich, node)
    problem = "Docker needs user namespaces."
    have_engine(node, problem=problem, version="", unlimited=["layer"])
    (told,) = api(olga).get("/api/nodes/").json()
    assert told["engine"]["problem"] == "Docker needs user namespaces."
    assert told["engine"]["unlimited"] == ["layer"]
    assert told["engine"]["relay"] == "127.0.0.1:1" and told["engine"]["is_fresh"]
    assert [(held["kind"], held["name"]) for held in told["holdings"]] == [("machine", "box")]
