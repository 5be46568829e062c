"""HTTP to a port inside a machine: httpcore, whose connections go through the node's relay."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpcore

from studio.machines.doors import Door, open_socket
from studio.machines.web.access import Look
from studio.machines.web.headers import Headers

_MOST_CONNECTIONS = 2000
_MOST_IDLE = 200
_IDLE_S = 30.0
_BUFFER = 256 * 1024
_MOST_DOORS = 10_000


class _Stream(httpcore.AsyncNetworkStream):
    """One connection, as httpcore wants it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._writer.write(buffer)
            async with asyncio.timeout(timeout):
                await self._writer.drain()
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        self._writer.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("machines speak plain HTTP to their node")

    def get_extra_info(self, info: str) -> Any:
        # Asked before a connection is used again: one that has ended is not.
        return self._reader.at_eof() if info == "is_readable" else None


class _Relays(httpcore.AsyncNetworkBackend):
    """Connects by doors; a name stands for one start of one machine."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}

    def name(self, look: Look) -> str:
        """Return the name under which the door of a look is found; others never share it."""
        assert look.door is not None
        name = f"{look.door.machine_key}-{look.life}-{look.start}.machine"
        if len(self._doors) >= _MOST_DOORS:
            self._doors.clear()
        self._doors[name] = look.door
        return name

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        door = self._doors.get(host)
        if door is None:
            raise httpcore.ConnectError("this machine was not looked at")
        opened = await open_socket(door, port)
        return _Stream(*await asyncio.open_connection(sock=opened, limit=_BUFFER))

    async def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("machines have no Unix sockets out here")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Upstream:
    """The pool of one event loop."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._relays = _Relays()
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=_MOST_CONNECTIONS,
            max_keepalive_connections=_MOST_IDLE,
            keepalive_expiry=_IDLE_S,
            network_backend=self._relays,
        )

    def send(
        self,
        look: Look,
        port: int,
        *,
        method: str,
        target: bytes,
        headers: Headers,
        body: AsyncIterator[bytes] | None,
    ) -> AbstractAsyncContextManager[httpcore.Response]:
        """Send a request and give its answer, whose bytes are read as they come.

        Raises:
            Unavailable: the machine does not answer at that port.
            httpcore.NetworkError, httpcore.ProtocolError: it breaks off, or speaks no HTTP.
        """
        # Target and headers go as they came: httpcore would write a path its own way.
        url = httpcore.URL(
            scheme=b"http", host=self._relays.name(look).encode(), port=port, target=target
        )
        return self._pool.stream(method.encode(), url, headers=headers, content=body)
