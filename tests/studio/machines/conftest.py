"""A studio with an image, people with points, and a node whose Docker engine answers."""

import pytest
from django.core.cache import cache
from django.utils import timezone

from studio.machines.models import Image, Machine, NodeEngine
from studio.machines.placing import place_machines
from studio.machines.reports import take_report
from studio.machines.services import Wish, create_machine
from studio.points.services import grant_points
from tests.factories import make_node
from workers.machines.orders import MachinePhase, MachineReport, MachineState

HOUR_S = 3600


@pytest.fixture(autouse=True)
def memory_cache(settings):
    """Passes and limits are kept in Redis; where a test is not about it, memory serves."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


@pytest.fixture
def image(db) -> Image:
    return Image.objects.create(
        name="base", title="Base", reference="sha256:abc", tools={"vscode": 8080, "lab": 8888}
    )


@pytest.fixture
def node(db):
    node = make_node("n1", cores=4, memory_gib=16)
    have_engine(node)
    return node


@pytest.fixture
def rich(alice, image):
    """Alice, with a thousand points, and an image to choose."""
    grant_points(by=None, to=alice, mpoints=1_000_000, note="", key="rich")
    return alice


def have_engine(node, **changes) -> None:
    said = {"version": "26.1", "relay_host": "127.0.0.1", "relay_port": 1, "problem": ""}
    said |= {"reported_at": timezone.now(), "studio_url": "http://169.254.86.1:8600"}
    NodeEngine.objects.update_or_create(node=node, defaults=said | changes)


def make_machine(owner, name="box", *, flavor="cpu-1", hours=1.0) -> Machine:
    wish = Wish(name=name, image="base", flavor=flavor, duration_s=int(hours * HOUR_S))
    return create_machine(owner=owner, wish=wish)


def make_running(owner, node, name="box", **changes) -> Machine:
    machine = make_machine(owner, name, **changes)
    place_machines()
    return tell(machine, node, MachinePhase.RUNNING)


def tell(machine: Machine, node, phase: MachinePhase | None, **facts) -> Machine:
    """Have the node say this of the machine; None says nothing of it."""
    machine.refresh_from_db()
    state = {"life": machine.life, "start": machine.start} | facts
    states = [MachineState(machine=machine.key, phase=phase, **state)] if phase else []
    report = MachineReport(
        engine="26.1", machines=states, relay_host="127.0.0.1", relay_port=1, studio_url=""
    )
    take_report(node=node, report=report)
    return Machine.objects.get(pk=machine.pk)
