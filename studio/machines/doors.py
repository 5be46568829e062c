"""The way to a port inside a machine: through the relay of its node, signed for each connection.

The relay speaks HTTP CONNECT (RFC 9110, 9.3.6) for `<machine key>:<port>` and takes a signature
that only the studio and that node can make; see `workers.machines.relay`.
"""

import asyncio
from dataclasses import dataclass

from studio.core.errors import Unavailable
from studio.machines.models import Machine, NodeEngine, Status
from workers.machines.orders import make_relay_pass

_CONNECT_S = 5.0


class NotListening(Unavailable):
    """The machine runs, and nothing in it answers at that port."""

    code = "not_listening"


@dataclass(frozen=True)
class Door:
    """All that is needed to reach one machine's ports; nothing more is read from the database."""

    machine_key: str
    host: str
    port: int
    relay_key: str


def find_door(machine: Machine) -> Door:
    """Return the way to a running machine.

    Raises:
        Unavailable: it does not run, or its node has no relay now.
    """
    if machine.status != Status.RUNNING or machine.node is None:
        raise Unavailable("This machine does not run now: start it.", code="machine_not_running")
    engine = NodeEngine.objects.filter(node=machine.node).first()
    if engine is None or engine.relay_port == 0:
        raise Unavailable("The node of this machine cannot be reached now.", code="node_away")
    return Door(machine.key, engine.relay_host, engine.relay_port, machine.node.token_hash)


async def open_door(door: Door, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port inside the machine; what follows is that connection's bytes.

    Raises:
        NotListening: the machine refuses at that port.
        Unavailable: the node does not answer.
    """
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(
                door.host, door.port, limit=2**20, happy_eyeballs_delay=0.25
            )
    except (OSError, TimeoutError) as error:
        raise Unavailable(
            "The node of this machine cannot be reached now.", code="node_away"
        ) from error
    try:
        status = await _connect(reader, writer, door, port)
    except BaseException:
        writer.close()
        raise
    if status == 200:
        return reader, writer
    writer.close()
    if status in {404, 502}:
        raise NotListening(f"Nothing in this machine answers at port {port} yet.", port=port)
    raise Unavailable("The node of this machine cannot be reached now.", code="node_away")


async def _connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: Door, port: int
) -> int:
    target = f"{door.machine_key}:{port}"
    writer.write(
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        f"Proxy-Authorization: Athanor {make_relay_pass(door.relay_key, target)}\r\n\r\n".encode()
    )
    try:
        async with asyncio.timeout(_CONNECT_S * 2):
            head = await reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])
    except (
        OSError,
        TimeoutError,
        ValueError,
        IndexError,
        asyncio.IncompleteReadError,
        asyncio.LimitOverrunError,
    ) as error:
        raise Unavailable(
            "The node of this machine cannot be reached now.", code="node_away"
        ) from error
