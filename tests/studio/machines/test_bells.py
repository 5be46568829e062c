"""Who is told at once that there is something to do."""

import pytest
from redis.exceptions import ConnectionError as RedisAway

from studio.machines import bells, services
from studio.machines.models import Status
from studio.machines.placing import place_machines
from tests.studio.machines.conftest import make_machine
from workers.machines.orders import bell_name


class Heard:
    """Stands where the broker and Redis are."""

    def __init__(self):
        self.tasks, self.rung = [], []

    def send_task(self, name, **_):
        self.tasks.append(name)

    def publish(self, channel, _):
        self.rung.append(channel)


@pytest.fixture
def heard(monkeypatch):
    heard = Heard()
    monkeypatch.setattr(bells, "app", heard)
    monkeypatch.setattr(bells, "_connect", lambda: heard)
    return heard


def test_a_machine_that_is_made_is_placed_and_its_node_told_at_once(
    heard, rich, node, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        machine = make_machine(rich)
    assert heard.tasks == ["studio.machines.tasks.place_machines"] and not heard.rung
    with django_capture_on_commit_callbacks(execute=True):
        place_machines()
    assert heard.rung == [bell_name("n1")]
    with django_capture_on_commit_callbacks(execute=True):
        services.stop_machine(by=rich, machine=machine)
    assert heard.rung == [bell_name("n1")] * 2


def test_nothing_depends_on_it(monkeypatch, rich, node, django_capture_on_commit_callbacks):
    def lose(*_, **__):
        raise RedisAway("away")

    monkeypatch.setattr(bells.app, "send_task", lose)
    monkeypatch.setattr(bells, "_connect", lose)
    with django_capture_on_commit_callbacks(execute=True):
        machine = make_machine(rich)
        place_machines()
    machine.refresh_from_db()
    assert machine.status == Status.STARTING
