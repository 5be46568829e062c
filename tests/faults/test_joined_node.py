"""A second node joins a living studio by the command, works, is emptied, and is removed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clients.node_join import read_settings
from tests.faults.owner import FINAL, Json, Owner
from tests.live import ROOT, LiveStudio, wait_for

pytestmark = pytest.mark.fault


class Joined:
    """The node `second`, and the command that its administrator types."""

    def __init__(self, studio: LiveStudio, folder: Path) -> None:
        self.studio, self.folder = studio, folder
        self.config = folder / "node.env"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
        self.env |= {"ATHANOR_URL": studio.url}
        self.env |= {"ATHANOR_TOKEN": studio.make_token("root", role="administrator")}
        self.process: subprocess.Popen[bytes] | None = None

    def athanor(self, *words: str) -> str:
        command = [sys.executable, "-m", "clients.command", *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        words = ("-m", "clients.command", "node", "run", "--config", str(self.config))
        with (self.folder / "node.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], env=self.env, stdout=log, stderr=subprocess.STDOUT
            )

    def find(self, name: str = "second") -> Json | None:
        with self.studio.client("root", role="administrator") as http:
            nodes = http.get("/api/nodes/").json()
        return next((node for node in nodes if node["name"] == name), None)

    def is_online(self) -> bool:
        assert self.process is not None and self.process.poll() is None
        node = self.find()
        return node is not None and node["is_online"]

    def end(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)


@pytest.fixture
def second(furnace: LiveStudio, tmp_path: Path) -> Iterator[Joined]:
    joined = Joined(furnace, tmp_path)
    yield joined
    joined.end()
    joined.athanor("node", "uncordon", "local")


def test_a_joined_node_works_until_it_is_removed(
    furnace: LiveStudio, second: Joined, alice: Owner
) -> None:
    command = second.athanor("node", "token", "--name", "second").splitlines()[-1].split()
    places = ("--config", str(second.config), "--dir", str(second.folder / "node"))
    assert "second has joined" in second.athanor(*command[1:], *places)
    second.start()
    wait_for("the node to be online", second.is_online)

    second.athanor("node", "cordon", "local")
    job = alice.launch(max_steps=3)
    wait_for("the job to end", lambda: job.get()["status"] in FINAL, timeout_s=120)
    ended = job.get()
    assert (ended["status"], ended["run"]["node"]) == ("succeeded", "second"), ended

    assert "second is empty" in second.athanor("node", "drain", "second", "--minutes", "0", "-w")
    second.athanor("node", "remove", "second", "--yes")
    token = read_settings(second.config)["ATHANOR_NODE_TOKEN"]
    door = f"{furnace.url}/api/internal/nodes/machines/"
    refused = httpx.post(door, headers={"Authorization": f"Bearer {token}"}, json={})
    assert (refused.status_code, second.find()) == (410, None)
    log = second.folder / "node" / "logs" / "supervisor.log"
    wait_for("the node to hear of it", lambda: "was removed" in log.read_text())
