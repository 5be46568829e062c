"""How a start goes, how long one waits for it, and which tools are offered again."""

from datetime import timedelta

import pytest
from django.utils import timezone

from studio.compute.models import Node
from studio.machines.models import Machine, Status
from studio.machines.placing import place_machines
from studio.machines.services import restart_machine, start_machine, stop_machine
from studio.machines.showing import show_machine
from studio.machines.tabs import list_last_tabs, note_tab
from studio.machines.waits import estimate_waits
from tests.studio.machines.conftest import HOUR_S, make_machine, make_running, tell
from workers.machines.orders import MachinePhase


@pytest.fixture
def small(node):
    """The node, with room for one machine."""
    node.cores = 2
    node.save()
    return node


def progress(machine: Machine) -> dict:
    return show_machine(Machine.objects.select_related("image", "lease").get(pk=machine.pk))[
        "progress"
    ]


def ready(machine: Machine) -> list[str]:
    return [door["name"] for door in progress(machine)["doors"] if door["ready_at"]]


def test_a_start_is_told_part_by_part_with_its_times(rich, node):
    machine = make_machine(rich)
    assert progress(machine)["placed_at"] is None
    place_machines()
    assert progress(machine)["placed_at"] and not progress(machine)["created_at"]
    tell(machine, node, MachinePhase.CREATING, is_created=True)
    told = progress(machine)
    assert told["created_at"] and not told["started_at"]
    tell(machine, node, MachinePhase.RUNNING, is_created=True)
    told = progress(machine)
    assert told["started_at"] >= told["created_at"] >= told["placed_at"]
    assert not told["is_usable"] and ready(machine) == []
    tell(machine, node, MachinePhase.RUNNING, is_created=True, ready_ports=(22, 8888))
    assert ready(machine) == ["lab", "terminal"] and not progress(machine)["is_usable"]
    first = progress(machine)["doors"]
    tell(machine, node, MachinePhase.RUNNING, is_created=True, ready_ports=(22, 8080, 8888))
    assert progress(machine)["is_usable"]
    assert [d for d in progress(machine)["doors"] if d["name"] == "lab"] == [
        d for d in first if d["name"] == "lab"
    ]


def test_a_restart_is_told_anew_and_old_words_do_not_count(rich, node):
    machine = make_running(rich, node)
    tell(machine, node, MachinePhase.RUNNING, ready_ports=(8080,))
    assert progress(machine)["is_usable"]
    restart_machine(by=rich, machine=machine)
    tell(machine, node, MachinePhase.STOPPED)
    assert ready(machine) == []
    machine.refresh_from_db()
    tell(machine, node, MachinePhase.RUNNING, start=machine.start - 1, ready_ports=(8080,))
    assert ready(machine) == []


def test_a_wait_is_as_long_as_what_stands_before_it_has_left(rich, small):
    first = make_running(rich, small, "one", flavor="cpu-2", hours=2)
    tell(first, small, MachinePhase.RUNNING)
    for name in ("two", "three"):
        make_machine(rich, name, flavor="cpu-2", hours=1)
    place_machines()
    waits = {Machine.objects.get(pk=pk).name: wait for pk, wait in estimate_waits().items()}
    assert waits["two"] == pytest.approx(2 * HOUR_S, abs=60)
    assert waits["three"] == pytest.approx(3 * HOUR_S, abs=60)


def test_nothing_is_promised_where_nobody_can_know(rich, small):
    machine = make_running(rich, small, "one", flavor="cpu-2")
    make_machine(rich, "two", flavor="cpu-2")
    place_machines()
    Node.objects.update(last_seen_at=timezone.now() - timedelta(hours=1))
    assert list(estimate_waits().values()) == [None]
    assert show_machine(machine)["wait_s"] is None


def test_what_was_open_is_offered_at_the_next_start_until_it_is_open(rich, bob, node):
    machine = make_running(rich, node)
    for name in ("vscode", "terminal", "7860", "vscode", "gone"):
        note_tab(rich, machine.key, name)
    note_tab(bob, machine.key, "lab")
    machine.refresh_from_db()
    assert list_last_tabs(machine) == []
    stop_machine(by=rich, machine=machine)
    tell(machine, node, MachinePhase.STOPPED)
    machine.refresh_from_db()
    wanted = [
        {"name": "vscode", "port": 8080},
        {"name": "terminal", "port": None},
        {"name": "7860", "port": 7860},
    ]
    assert list_last_tabs(machine) == wanted
    machine = start_machine(by=rich, machine=machine)
    assert list_last_tabs(machine) == wanted
    place_machines()
    tell(machine, node, MachinePhase.RUNNING)
    note_tab(rich, machine.key, "terminal")
    machine = Machine.objects.get(pk=machine.pk)
    assert machine.status == Status.RUNNING
    assert [tab["name"] for tab in list_last_tabs(machine)] == ["vscode", "7860"]
