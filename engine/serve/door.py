"""Stands before all doors of a server: counts who is inside, and lets nobody in who comes late."""

import threading
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.serve.backend import ServerClosing
from engine.serve.metrics import Meters
from engine.serve.openai_shapes import shape_refusal

_ALWAYS_OPEN = ("/health", "/metrics")


class Door:
    """Shared by HTTP and gRPC; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._closed_at: float | None = None

    @property
    def num_inside(self) -> int:
        """Requests that are under way."""
        return self._num_inside

    @property
    def is_closing(self) -> bool:
        """Say whether newcomers are sent away."""
        return self._closed_at is not None

    def close(self) -> None:
        """Send newcomers away from now on; who is inside may end."""
        if self._closed_at is None:
            self._closed_at = time.monotonic()

    def is_drained(self, grace_s: float) -> bool:
        """Say whether it is closed and everybody has left, or had `grace_s` to."""
        if self._closed_at is None:
            return False
        return not self._num_inside or time.monotonic() - self._closed_at > grace_s

    def enter(self) -> None:
        """Come in.

        Raises:
            ServerClosing: it is closed.
        """
        with self._lock:
            if self.is_closing:
                raise ServerClosing
            self._num_inside += 1

    def leave(self) -> None:
        """Go."""
        with self._lock:
            self._num_inside -= 1


class DoorMiddleware:
    """Leads each HTTP request through the door."""

    def __init__(self, app: ASGIApp, *, door: Door, meters: Meters) -> None:
        self._app = app
        self._door = door
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS_OPEN:
            await self._app(scope, receive, send)
            return
        try:
            self._door.enter()
        except ServerClosing as closing:
            headers = {"Retry-After": "1", "Connection": "close"}
            answer = JSONResponse(shape_refusal(closing), closing.status, headers)
            await answer(scope, receive, send)
            return
        begun_at = self._meters.begin()
        status = "left"

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            self._door.leave()
            route = scope.get("route")
            self._meters.end(begun_at, route.path if route else "unknown", status)
