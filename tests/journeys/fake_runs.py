"""The made-up node's scripts, for pages: orders come by its real queue, each is a process of this
computer instead of a container, and its words go up by the real door. No test of its own.
"""

import hashlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
from kombu import Connection

from engine.events import encode_log
from engine.specs import ScriptSpec
from studio.up.places import Places
from tests.live import LiveStudio
from workers.orders import RunOrder, queue_name

Json = dict[str, Any]
_WAIT_S = 0.3


class ScriptRunner:
    """Takes one order after the other and does it."""

    def __init__(self, studio: LiveStudio, node: str, folder: Path) -> None:
        self.studio, self.folder = studio, folder
        self.queue = queue_name(node)
        self.broker = Places(studio.data_dir, studio.port).redis_url.replace(
            "unix://", "redis+socket://", 1
        )

    def live(self, is_over: Any) -> None:
        """Work until `is_over()`."""
        with Connection(self.broker) as broker:
            orders = broker.SimpleQueue(self.queue)
            while not is_over():
                try:
                    message = orders.get(timeout=_WAIT_S)
                except orders.Empty:
                    continue
                message.ack()
                order = RunOrder.model_validate_json(message.payload[0][0])
                _Run(self.studio.url, order).carry(self.folder)


class _Run:
    def __init__(self, url: str, order: RunOrder) -> None:
        self.order, self.seq, self.log = order, 0, b""
        headers = {"Authorization": f"Bearer {order.run_token}"}
        base = f"{url}/api/internal/runs/{order.run_id}"
        self.http = httpx.Client(base_url=base, headers=headers, timeout=60)

    def carry(self, folder: Path) -> None:
        if not self.http.post("/claim/", json={}).raise_for_status().json()["start"]:
            return
        self.tell({"type": "status", "status": "running"})
        assert isinstance(self.order.spec, ScriptSpec)
        with subprocess.Popen(
            self.order.spec.command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                self.log += line
                self.tell({"type": "log", **encode_log(line)})
        code = child.returncode
        crash = f"The script ended with exit status {code}; the end of the log may say why."
        end = {"status": "failed", "reason": "crashed", "message": crash}
        if code == 0:
            end = {"status": "succeeded", "reason": "completed"}
        facts = {"log_bytes": len(self.log), "log_sha256": hashlib.sha256(self.log).hexdigest()}
        self.tell({"type": "status", "exit_code": code, **end, **facts})

    def tell(self, event: Json) -> None:
        told = {**event, "seq": self.seq, "time": time.time()}
        body = json.dumps({"now": time.time(), "alive": True, "events": [told]})
        self.http.post("/events/", content=body).raise_for_status()
        self.seq += 1
