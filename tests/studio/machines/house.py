"""A real program in a machine's place, a real relay before it, and the studio before that."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from websockets.asyncio.server import ServerConnection, serve

from studio.machines.web.proxy import MachineOrigins
from studio.up.web import listen
from workers.machines.relay import Relay

PIECE = 64 * 1024
NUM_PIECES = 1600  # 100 MiB
BEGUN: list[str] = []
"""The paths that the program was asked for, whether or not their bodies came."""
SENT = [0]
"""How many bytes of what has no end the program could send."""
MOST_SENT = 2**28


@dataclass
class Ports:
    """Where everything listens."""

    studio: int
    relay: int
    http: int
    sockets: int


async def program(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer what was heard; some paths do what programs do."""
    if scope["type"] != "http":
        return
    size, digest = 0, hashlib.sha256()
    path = scope["path"]
    BEGUN.append(path)
    while path != "/gone" and path != "/drip":
        message = await receive()
        size += len(message.get("body", b""))
        digest.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"application/json"), (b"x-own", b"a"), (b"x-own", b"b")]
    headers += [(b"set-cookie", b"mine=1; Domain=localhost; Path=/")]
    headers += [(b"set-cookie", b"athanor_session=evil; Path=/")]
    headers += [(b"set-cookie", b"secret=2; HttpOnly; Path=/")]
    headers += [(b"x-accel-redirect", b"/_hub/secret"), (b"clear-site-data", b'"cookies"')]
    headers += [(b"connection", b"x-hop"), (b"x-hop", b"1")]
    status = int(path.removeprefix("/status/")) if path.startswith("/status/") else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if path == "/large":
        for _ in range(NUM_PIECES):
            await send({"type": "http.response.body", "body": bytes(PIECE), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if path == "/endless":
        while SENT[0] < MOST_SENT:  # a server takes what is sent to who has gone
            await send({"type": "http.response.body", "body": bytes(PIECE), "more_body": True})
            SENT[0] += PIECE
    if path == "/drip":
        for number in range(1000):
            line = f"data: {number}\n\n".encode()
            await send({"type": "http.response.body", "body": line, "more_body": True})
            await asyncio.sleep(0.1)
    if path == "/broken":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise OSError("on purpose")
    said = {
        "method": scope["method"],
        "target": scope["raw_path"].decode() + "?" + scope["query_string"].decode(),
        "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in scope["headers"]],
        "size": size,
        "sha256": digest.hexdigest(),
    }
    body = b"" if status in {204, 304} or scope["method"] == "HEAD" else json.dumps(said).encode()
    await send({"type": "http.response.body", "body": body})


async def sockets(connection: ServerConnection) -> None:
    """Echo messages; the word `bye` closes with a code of its own."""
    heard = (
        {name.lower(): value for name, value in connection.request.headers.raw_items()}
        if connection.request
        else {}
    )
    await connection.send(json.dumps({"path": connection.request.path, "headers": heard}))
    while connection.request.path == "/endless" and SENT[0] < MOST_SENT:
        await connection.send(bytes(PIECE))
        SENT[0] += PIECE
    async for message in connection:
        if message == "bye":
            await connection.close(4242, "as you wish")
            return
        await connection.send(message)


async def not_the_studio(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """What other hosts come to."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"studio"})


@contextmanager
def run_house(
    key: str, token_hash: str, *, numbers: Iterable[int] = (), is_behind_proxy: bool = False
) -> Iterator[Ports]:
    """Run all of it on a thread; `key` is the machine that the relay knows.

    `numbers` are ports at which the studio listens besides.
    """
    ready, stop, ports = threading.Event(), threading.Event(), Ports(0, 0, 0, 0)

    async def live() -> None:
        origins = MachineOrigins(not_the_studio)
        servers = [start(program), start(origins, is_behind_proxy=is_behind_proxy)]
        at = [[listen("127.0.0.1", 0)], [listen("127.0.0.1", port) for port in (0, *numbers)]]
        tasks = [
            asyncio.create_task(server.serve(sockets))
            for server, sockets in zip(servers, at, strict=True)
        ]
        while not all(server.started for server in servers):
            await asyncio.sleep(0.01)
        ports.http, ports.studio = (sockets[0].getsockname()[1] for sockets in at)
        relay = Relay(token_hash, {key: "127.0.0.1"}.get)
        ports.relay = await relay.open("127.0.0.1", 0)
        async with serve(
            sockets,
            "127.0.0.1",
            0,
            max_size=None,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
        ) as echo:
            ports.sockets = next(iter(echo.sockets)).getsockname()[1]
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.05)
        for server in servers:
            server.should_exit = server.force_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        await relay.close()

    thread = threading.Thread(target=asyncio.run, args=[live()], daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield ports
    finally:
        stop.set()
        thread.join(20)


def start(application: Any, *, is_behind_proxy: bool = False) -> uvicorn.Server:
    config = uvicorn.Config(
        application, log_config=None, lifespan="off", timeout_graceful_shutdown=1,
        server_header=False, proxy_headers=is_behind_proxy, forwarded_allow_ips="*",
        date_header=False,
    )  # fmt: skip
    return uvicorn.Server(config)
