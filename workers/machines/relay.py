"""The way from the studio to ports inside this node's machines: HTTP CONNECT with a signed pass.

RFC 9110, 9.3.6; the target is `<machine>:<port>`, never an address, so that nothing but this node's
own machines can be reached through it. Container ports are published on no interface.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable

import structlog

from workers.machines.orders import PASS_LASTS_S, is_relay_pass

log = structlog.get_logger()

_HEAD_S = 10.0
_CONNECT_S = 5.0
_PIECE = 256 * 1024
_MOST_HEAD = 8192
_TARGET = re.compile(r"CONNECT ([a-z0-9][a-z0-9-]{0,62}):([1-9][0-9]{0,4}) HTTP/1\.[01]")
_PASS = re.compile(r"(?im)^proxy-authorization:[ \t]*athanor ([0-9a-f.]{1,200})[ \t]*$")


class Relay:
    """One node's."""

    def __init__(self, key: str, find_address: Callable[[str], str | None]) -> None:
        """Take the key of passes, and what knows the address of a running machine."""
        self._key, self._find_address = key, find_address
        self._spent: dict[str, float] = {}
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port, which is chosen where `port` is 0.

        Raises:
            OSError: the address is taken, or none of this machine's.
        """
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=_MOST_HEAD, backlog=512
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more; connections that are open end with the process."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opened = await self._answer(reader, writer)
            if opened is not None:
                await join(reader, writer, *opened)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # who called has gone, or is none of ours
        finally:
            writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        async with asyncio.timeout(_HEAD_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        target, given = _TARGET.match(head), _PASS.search(head.replace("\r\n", "\n"))
        if target is None or int(target[2]) > 65535:
            await _refuse(writer, "400 Bad Request")
            return None
        machine, port = target[1], int(target[2])
        if given is None or not self._takes(f"{machine}:{port}", given[1]):
            log.warning("relay_refused", machine=machine)
            await _refuse(writer, "407 Proxy Authentication Required")
            return None
        address = self._find_address(machine)
        if address is None:
            await _refuse(writer, "404 Not Found")
            return None
        try:
            async with asyncio.timeout(_CONNECT_S):
                opened = await asyncio.open_connection(address, port)
        except (OSError, TimeoutError):
            await _refuse(writer, "502 Bad Gateway")
            return None
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        return opened

    def _takes(self, target: str, given: str) -> bool:
        """Say whether a pass is good, and spend it: who reads it off the network gets nowhere."""
        if given in self._spent or not is_relay_pass(self._key, target, given):
            return False
        now = time.monotonic()
        while self._spent and now - next(iter(self._spent.values())) > 2 * PASS_LASTS_S:
            del self._spent[next(iter(self._spent))]
        self._spent[given] = now
        return True


async def join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other_reader: asyncio.StreamReader,
    other_writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes both ways until both sides have ended, each end passed on as it comes."""
    try:
        await asyncio.gather(_carry(reader, other_writer), _carry(other_reader, writer))
    except OSError:  # one side has gone for good: nothing of the other will be read
        pass
    finally:
        other_writer.close()
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):  # it may be closed already
        writer.write_eof()


async def _refuse(writer: asyncio.StreamWriter, status: str) -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
