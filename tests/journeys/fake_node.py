"""A node without a Docker engine that says it has one, for pages: its one machine is a real sshd
and a real web page of this computer, reached through a real relay. No test of its own.
"""

import asyncio
import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.journeys.fake_runs import ScriptRunner
from tests.live import LiveStudio
from tests.plain_shells import with_plain_shells
from workers.machines.relay import Relay

ADDRESS = "127.0.0.9"  # of this computer alone, and with port 22 free
_EVERY_S = 0.3
_IMAGE = "sha256:" + "b" * 64
_GIB = 2**30


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>Editor</title><h1>The editor is here</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        left = size = int(self.headers["Content-Length"])
        while left and (piece := self.rfile.read(min(left, 1 << 18))):
            left -= len(piece)
        body = json.dumps({"size": size - left}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class FakeNode:
    """Says of every order that it is done, a part at each word."""

    def __init__(self, studio: LiveStudio, folder: Path) -> None:
        self.studio, self.folder = studio, folder
        self.token = studio.manage("node_token", "made-up").splitlines()[-1]
        self.is_holding = False
        """While true, what starts stays where it is."""
        self.relay_port = 0
        self.stopping = threading.Event()
        self._states: dict[str, dict[str, Any]] = {}

    def live(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.studio.url, headers=headers, timeout=30) as client:
            saved: list[dict[str, Any]] = []
            while not self.stopping.wait(_EVERY_S):
                with contextlib.suppress(httpx.HTTPError, ValueError):
                    saved = self._tell(client, saved)

    def _tell(self, client: httpx.Client, saved: list[dict[str, Any]]) -> list[dict[str, Any]]:
        inventory = {"version": "1", "cores": 8, "memory_bytes": 32 * _GIB}
        inventory |= {"disk_free_bytes": 100 * _GIB, "devices": [], "runs": []}
        client.post("/api/internal/nodes/heartbeat/", json=inventory).raise_for_status()
        report = {"engine": "26.1", "relay_host": "127.0.0.1", "relay_port": self.relay_port}
        report |= {"machines": list(self._states.values()), "saved": saved}
        answer = client.post("/api/internal/nodes/machines/", json=report)
        answer.raise_for_status()
        orders = answer.json()["orders"]
        self._states = {order["machine"]: self._do(order) for order in orders}
        return [
            {"key": order["save"], "image": _IMAGE, "size_bytes": 3 * _GIB}
            for order in orders
            if order["save"] and not self.is_holding
        ]

    def _do(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the next part of what shall be."""
        known = self._states.get(order["machine"])
        state = {name: order[name] for name in ("machine", "life", "start")}
        (self.folder / "keys").write_text(order["secrets"]["gateway_key.pub"])
        if not order["is_running"]:
            done = known["start"] if known else order["start"]  # a start not done yet is not told
            return state | {"phase": "stopped", "start": done, "is_created": True}
        if known is None or known["phase"] == "stopped":
            return state | {"phase": "creating"}
        if self.is_holding:
            return known
        if not known.get("is_created"):
            return state | {"phase": "creating", "is_created": True}
        up = state | {"phase": "running", "is_created": True, "address": ADDRESS}
        return up | {"ready_ports": order["ports"] if known["phase"] == "running" else []}


@contextmanager
def run_node(studio: LiveStudio, folder: Path) -> Iterator[FakeNode]:
    """Run the node, its relay, an sshd and a page."""
    folder.mkdir(exist_ok=True)
    node = FakeNode(studio, folder)
    ready = threading.Event()

    async def relay() -> None:
        key = hashlib.sha256(node.token.encode()).hexdigest()
        relay = Relay(key, lambda machine: ADDRESS)
        node.relay_port = await relay.open("127.0.0.1", 0)
        ready.set()
        while not node.stopping.is_set():
            await asyncio.sleep(0.1)
        await relay.close()

    page = http.server.ThreadingHTTPServer((ADDRESS, 8080), _Page)
    page.daemon_threads = True
    threads = [
        threading.Thread(target=asyncio.run, args=[relay()], daemon=True),
        threading.Thread(target=page.serve_forever, daemon=True),
    ]
    for thread in threads:
        thread.start()
    assert ready.wait(20)
    scripts = ScriptRunner(studio, "made-up", folder)
    working = threading.Thread(target=scripts.live, args=[node.stopping.is_set], daemon=True)
    telling = threading.Thread(target=node.live, daemon=True)
    for thread in (telling, working):
        thread.start()
    with _run_sshd(folder):
        try:
            yield node
        finally:
            node.stopping.set()
            page.shutdown()
            page.server_close()
            telling.join(30)
            working.join(30)


@contextmanager
def _run_sshd(folder: Path) -> Iterator[None]:
    os.makedirs("/run/sshd", exist_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True
    )
    tmux = {"TMUX_TMPDIR": str(folder)}
    options = [
        f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/keys", "StrictModes no",
        "UsePAM no", "PermitRootLogin prohibit-password", "PasswordAuthentication no",
        f"ListenAddress {ADDRESS}:22", f"PidFile {folder}/sshd.pid",
        f"SetEnv TMUX_TMPDIR={folder} LANG=C.UTF-8",  # as machines have it
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(options) + "\n")
    with (folder / "log").open("w") as log:
        command = ("/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config"))
        sshd = subprocess.Popen(with_plain_shells(*command), stderr=log)
    try:
        yield
    finally:
        sshd.terminate()
        sshd.wait(10)
        subprocess.run(
            ["tmux", "kill-server"], env=os.environ | tmux, capture_output=True, check=False
        )
