"""WebSockets to a port inside a machine (RFC 6455): messages, subprotocols, closes, both ways."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from studio.core.errors import Unavailable
from studio.machines.doors import open_socket
from studio.machines.moments import note_presence
from studio.machines.web.access import LOOKS_AGAIN_S, Look, Verdict, look
from studio.machines.web.headers import get_header, to_machine
from studio.machines.web.origins import Origin

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_OPEN_S = 20.0
_QUEUE = 8
_POLICY_VIOLATION, _GOING_AWAY, _INTERNAL = 1008, 1001, 1011


async def serve_socket(origin: Origin, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one WebSocket: refused at its handshake, or carried until either side ends it."""
    await receive()  # websocket.connect
    found = await look(origin, scope)
    if found.verdict is not Verdict.OPEN:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})  # before accept: 403
        return
    try:
        inner = await _open(origin, scope, found)
    except (Unavailable, InvalidHandshake, OSError, TimeoutError):
        await send({"type": "websocket.close", "code": _INTERNAL})
        return
    try:
        await send({"type": "websocket.accept", "subprotocol": inner.subprotocol})
        await _carry(origin, scope, receive, send, inner)
    finally:
        await inner.close()


async def _open(origin: Origin, scope: Scope, found: Look) -> ClientConnection:
    assert found.door is not None
    headers = scope["headers"]
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    client = str((scope.get("client") or ("unknown", 0))[0])
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    passed = to_machine(origin, headers, client=client, scheme=scheme, is_socket=True)
    opened = await open_socket(found.door, origin.port)
    said = get_header(headers, b"origin")
    return await connect(
        f"ws://{get_header(headers, b'host')}{path}" + (f"?{query}" if query else ""),
        sock=opened,
        origin=said or None,  # type: ignore[arg-type]
        subprotocols=[Subprotocol(name) for name in scope.get("subprotocols", [])] or None,
        additional_headers=[
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in passed
            if name.lower() != b"user-agent"
        ],
        user_agent_header=get_header(headers, b"user-agent") or None,
        compression=None,
        max_size=None,
        max_queue=_QUEUE,
        ping_interval=None,  # both ends ask each other, through us
        open_timeout=_OPEN_S,
        close_timeout=2,
        proxy=None,
    )


async def _carry(
    origin: Origin, scope: Scope, receive: Receive, send: Send, inner: ClientConnection
) -> None:
    ways = [
        asyncio.create_task(_to_machine(receive, inner)),
        asyncio.create_task(_to_browser(send, inner)),
        asyncio.create_task(_until_lost(origin, scope)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if ways[0].done():
            return  # the browser has closed
        code = _POLICY_VIOLATION if ways[2].done() else _get_close_code(inner)
        with contextlib.suppress(RuntimeError, OSError):  # the browser went in this moment
            await send({"type": "websocket.close", "code": code, "reason": inner.close_reason})
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _to_machine(receive: Receive, inner: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code") or 1000
                await inner.close(code if _may_be_sent(code) else _GOING_AWAY)
                return
            text, data = message.get("text"), message.get("bytes")
            await inner.send(text if text is not None else data or b"")


async def _to_browser(send: Send, inner: ClientConnection) -> None:
    async for message in inner:
        kind = "text" if isinstance(message, str) else "bytes"
        await send({"type": "websocket.send", kind: message})


async def _until_lost(origin: Origin, scope: Scope) -> None:
    while (await look(origin, scope)).verdict is Verdict.OPEN:
        await note_presence(origin.key, "browser")
        await asyncio.sleep(LOOKS_AGAIN_S)


def _get_close_code(inner: ClientConnection) -> int:
    code = inner.close_code
    return code if code is not None and _may_be_sent(code) else _INTERNAL


def _may_be_sent(code: int) -> bool:
    """Say whether a close frame may hold this code (RFC 6455, 7.4)."""
    return code in {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011} or 3000 <= code <= 4999
