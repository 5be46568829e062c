"""What an open page does: follow a run over its WebSocket, and come back when cut, by cursor."""

import json
import threading
import time
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from tests.faults.owner import Launched


class Watcher:
    """Follows a run in a thread, as long as the block lasts."""

    def __init__(self, launched: Launched) -> None:
        studio = launched.owner.studio
        self._url = f"{studio.url.replace('http', 'ws', 1)}/ws/runs/{launched.run_id}/"
        self._headers = {"Authorization": launched.owner.http.headers["Authorization"]}
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._is_over = threading.Event()
        self.events: list[dict[str, Any]] = []
        self.statuses: list[str] = []
        self.num_cuts = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join(30)

    def has_seen_end(self) -> bool:
        """Say whether the last event is the run's last."""
        return bool(self.events) and "exit_code" in self.events[-1]

    def _follow(self) -> None:
        while not self._is_over.is_set():
            try:
                with connect(
                    f"{self._url}?after={len(self.events)}",
                    additional_headers=self._headers,
                    max_size=None,
                ) as socket:
                    self._read(socket)
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                self.num_cuts += 1
                time.sleep(0.2)

    def _read(self, socket: Any) -> None:
        while not self._is_over.is_set():
            try:
                message = json.loads(socket.recv(timeout=0.5))
            except TimeoutError:
                continue
            if message["type"] == "events":
                self.events += message["events"]
            elif message["type"] == "job":
                self.statuses.append(message["job"]["status"])
