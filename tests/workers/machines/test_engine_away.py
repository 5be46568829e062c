"""Who is let into machines while their node's engine is away, and after it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.workers.machines.test_removed import Studio
from workers.config import NodeConfig
from workers.machines.engine import write_secrets
from workers.machines.host import MachineHost
from workers.machines.orders import MachinePhase, MachineState
from workers.machines.plan import Container
from workers.machines.walls import DockerEngine, EngineAway, EngineFault


def answer_with(how: str) -> bytes:
    if how == "cuts":
        return b""
    status = "500 Oops" if how == "refuses" else "200 OK"
    body = json.dumps(
        {"message": "Oops"} if how == "refuses" else {"Version": "20.10", "ApiVersion": "1.41"}
    )
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Engine:
    """A Docker engine that says its version, or does not."""

    def __init__(self, path: Path) -> None:
        self.path, self.how = path, "answers"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer_with(self.how))

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def engine(tmp_path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "engine.sock")
    yield engine
    with suppress(OSError):
        engine.close()


class Machines:
    """What a reconciler keeps: one machine that runs, at this address."""

    containers: tuple[Container, ...] = ()
    address = "172.18.0.2"

    def pass_once(self, orders, spared=()):
        state = {"machine": "m1", "life": 1, "start": 1, "phase": MachinePhase.RUNNING}
        return [MachineState(**state, address=self.address)]

    def tend_spares(self, wish) -> None:
        pass

    def list_strays(self, orders) -> tuple[str, ...]:
        return ()


@pytest.fixture
async def host(tmp_path, engine, monkeypatch):
    """A host whose engine is the fake one; only what that does not know is made up."""
    config = NodeConfig("http://127.0.0.1:1", "node_x", "redis://x", "n1", tmp_path)
    made = MachineHost(config, Studio(500), engine_host=f"unix://{engine.path}")
    made._orders, made._reconciler = [], Machines()
    listed = [Container("c1", "m1", 1, status="running", address=Machines.address)]
    monkeypatch.setattr(made, "_ready", made._engine.tell_version)
    monkeypatch.setattr(made._engine, "list_containers", lambda machines=None: listed)
    monkeypatch.setattr(made._engine, "list_images", lambda: [])
    monkeypatch.setattr(made._saver, "look", lambda orders: ())

    async def open_ways() -> None:
        pass

    async def add_usage(states, orders, seen):
        return states

    monkeypatch.setattr(made, "_open_ways", open_ways)
    monkeypatch.setattr(made._meter, "add_usage", add_usage)
    made.listed = listed
    await made.pass_once()
    assert made._report.problem == "" and made._addresses == {"m1": "172.18.0.2"}
    return made


@pytest.mark.parametrize("how", ["cuts", "is gone"])
async def test_machines_are_reached_while_the_engine_does_not_answer(host, engine, how):
    if how == "is gone":
        engine.close()
        engine.path.unlink()
    engine.how = how
    await host.pass_once()
    assert host._report.problem and host._report.machines == []
    assert host._addresses == {"m1": "172.18.0.2"}


async def test_after_an_absence_only_what_has_come_through_it_is_reached(host, engine, monkeypatch):
    engine.how = "cuts"
    await host.pass_once()
    engine.how = "answers"
    host.listed[0] = Container("c1", "m1", 1, status="exited")
    reached = []
    monkeypatch.setattr(
        host._reconciler, "pass_once", lambda *_: reached.append(dict(host._addresses)) or []
    )
    await host.pass_once()
    assert reached == [{}]  # not even while its pass goes on, which may give the address away


async def test_nobody_is_let_in_where_the_node_is_at_fault(host, engine, monkeypatch):
    def fail() -> str:
        raise EngineFault("drives_not_set")

    monkeypatch.setattr(host, "_ready", fail)
    await host.pass_once()
    assert host._addresses == {}


def test_an_engine_that_refuses_is_not_one_that_is_away(engine):
    asked = DockerEngine("n1", host=f"unix://{engine.path}")
    asked.tell_version()
    engine.how = "refuses"
    with pytest.raises(EngineFault) as refused:
        asked.tell_version()
    assert refused.value.code == "engine_says" and not isinstance(refused.value, EngineAway)
    engine.close()
    engine.path.unlink()
    with pytest.raises(EngineAway) as away:
        DockerEngine("n1", host=f"unix://{engine.path}").tell_version()
    assert away.value.code == "engine_away"


def test_a_secret_with_an_odd_name_is_a_fault_with_a_sentence(tmp_path):
    owner = tmp_path.stat().st_uid
    with pytest.raises(EngineFault, match="cannot read secrets") as fault:
        write_secrets(tmp_path / "m1", {"../token": "x"}, owner=owner)
    assert fault.value.code == "machine_order_unread"
    assert list((tmp_path / "m1").iterdir()) == []
