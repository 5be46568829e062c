"""The way to a port inside a machine: through the relay of its node, signed for each connection.

The relay speaks HTTP CONNECT (RFC 9110, 9.3.6) for `<machine key>:<port>` and takes a signature
that only the studio and that node can make; see `workers.machines.relay`.
"""

import asyncio
import socket
from dataclasses import dataclass

from studio.core.errors import Unavailable
from studio.machines.models import Machine, NodeEngine, Status
from workers.machines.orders import make_relay_pass

_CONNECT_S = 15.0
_MOST_HEAD = 1024


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
        raise _node_away()
    return Door(machine.key, engine.relay_host, engine.relay_port, machine.node.token_hash)


async def open_socket(door: Door, port: int) -> socket.socket:
    """Return a socket that is connected to a port inside the machine. It does not block.

    Raises:
        NotListening: the machine refuses at that port.
        Unavailable: the node does not answer.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_S):
            found = await loop.getaddrinfo(door.host, door.port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            opened = socket.socket(family, kind, protocol)
            try:
                opened.setblocking(False)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(opened, address)
                status = await _ask(opened, door, port)
            except BaseException:
                opened.close()
                raise
    except (OSError, TimeoutError, ValueError) as error:
        raise _node_away() from error
    if status == 200:
        return opened
    opened.close()
    if status in {404, 502}:
        raise NotListening(f"Nothing in this machine answers at port {port} yet.", port=port)
    raise _node_away()


async def _ask(opened: socket.socket, door: Door, port: int) -> int:
    """Ask the relay for the port, and return the status of its answer.

    Raises:
        ValueError: it makes no sense.
    """
    loop, target = asyncio.get_running_loop(), f"{door.machine_key}:{port}"
    head = (
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        f"Proxy-Authorization: Athanor {make_relay_pass(door.relay_key, target)}\r\n\r\n"
    )
    await loop.sock_sendall(opened, head.encode())
    answer = bytearray()
    # Byte by byte: what comes after the head is the machine's, which may speak first.
    while not answer.endswith(b"\r\n\r\n"):
        piece = await loop.sock_recv(opened, 1)
        if not piece or len(answer) > _MOST_HEAD:
            raise ValueError("the relay's answer is cut off")
        answer += piece
    return int(answer.split(b" ", 2)[1])


def _node_away() -> Unavailable:
    return Unavailable("The node of this machine cannot be reached now.", code="node_away")
