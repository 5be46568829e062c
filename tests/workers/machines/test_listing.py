"""What the node asks its engine to know its machines, against a client in memory."""

from types import SimpleNamespace

import pytest

from workers.machines.engine import LABEL, SLOT, Folders
from workers.machines.spares import SpareEngine

NEVER = "0001-01-01T00:00:00Z"


class Client:
    """An engine with three machines, one of them made of a spare, and a spare."""

    def __init__(self):
        self.inspected = []
        names = {"1": "athanor-a-1", "2": "athanor-b-1", "3": "athanor-c-2", "4": "athanor-spare"}
        self.names = names
        self.api = SimpleNamespace(containers=self.list, inspect_container=self.inspect)

    def list(self, **_):
        return [
            {"Id": id, "Names": [f"/{name}"], "Labels": self.label(id)}
            for id, name in self.names.items()
        ]

    def label(self, id):
        return {SLOT: f"slot{id}"} if id in {"3", "4"} else {LABEL: "x"}

    def inspect(self, id):
        self.inspected.append(id)
        state = {"Status": "running", "StartedAt": NEVER, "FinishedAt": NEVER, "ExitCode": 0}
        return {
            "Id": id,
            "Name": f"/{self.names[id]}",
            "State": state,
            "Config": {"Labels": self.label(id)},
            "NetworkSettings": {"Networks": {}},
        }


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def engine(client, tmp_path):
    folders = Folders(homes=tmp_path, secrets=tmp_path, share=tmp_path)
    engine = SpareEngine("n1", folders)
    engine._client = client
    return engine


def test_only_machines_are_inspected_and_each_once(engine, client):
    assert [each.machine for each in engine.list_containers()] == ["a", "b", "c"]
    assert client.inspected == ["1", "2", "3"]


def test_of_some_machines_only_these_are_inspected_and_no_other_is_forgotten(engine, client):
    engine.list_containers()
    client.inspected.clear()
    assert [each.machine for each in engine.list_containers({"b"})] == ["b"]
    assert client.inspected == ["2"]
    assert set(engine._taken) == {("c", 2)}
    client.names.pop("3")
    engine.list_containers({"c"})
    assert not engine._taken
