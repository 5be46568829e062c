"""A WebSocket client inside the process. Channels' own needs daphne, which nothing here uses."""

import json
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter

from studio.routing import websocket_urlpatterns

TIMEOUT_S = 10


def _look_again(user: Any) -> Any:
    user.refresh_from_db()
    return user


class Socket(ApplicationCommunicator):
    """One socket of a user at an address."""

    def __init__(self, user: Any, address: str) -> None:
        parts = urlsplit(address)
        scope = {
            "type": "websocket",
            "path": unquote(parts.path),
            "query_string": parts.query.encode(),
            "headers": [],
            "subprotocols": [],
            "user": user,
            "look_again": sync_to_async(partial(_look_again, user)),
        }
        super().__init__(URLRouter(websocket_urlpatterns), scope)

    async def connect(self) -> None:
        await self.send_input({"type": "websocket.connect"})
        assert (await self.receive_output(TIMEOUT_S))["type"] == "websocket.accept"

    async def receive(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind."""
        while True:
            output = await self.receive_output(TIMEOUT_S)
            assert output["type"] == "websocket.send", output
            message = json.loads(output["text"])
            if message["type"] == kind:
                return message

    async def receive_events(self, count: int) -> list[dict[str, Any]]:
        """Return that many events, from as many messages as they come in."""
        events: list[dict[str, Any]] = []
        while len(events) < count:
            events += (await self.receive("events"))["events"]
        return events

    async def receive_close(self) -> int:
        """Return the code that the socket is closed with."""
        while True:
            output = await self.receive_output(TIMEOUT_S)
            if output["type"] == "websocket.close":
                return output["code"]

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(TIMEOUT_S)
