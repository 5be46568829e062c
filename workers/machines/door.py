"""The machines' way to a studio that listens on its own loopback: one address of the node's.

A studio on the same machine, such as `make up`'s, listens at 127.0.0.1, which is another place
inside a container. The node gives itself a link-local address (RFC 3927) and carries what comes
there to the studio; the packet filter lets machines reach nothing else of the node.
"""

import asyncio
import subprocess
from ipaddress import ip_address
from urllib.parse import urlsplit

from workers.errors import WorkerError
from workers.machines.relay import join

ADDRESS = "169.254.86.1"


class DoorFault(WorkerError):
    """The machines cannot be given a way to the studio."""


def needs_door(studio_url: str) -> bool:
    """Say whether the studio listens where machines cannot reach it."""
    host = urlsplit(studio_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def find_port(studio_url: str) -> int:
    """Return the port that the studio listens on."""
    parts = urlsplit(studio_url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def door_url(studio_url: str) -> str:
    """Return the studio's address for machines: its own, but for one that needs a door."""
    if not needs_door(studio_url):
        return studio_url
    return f"{urlsplit(studio_url).scheme}://{ADDRESS}:{find_port(studio_url)}"


async def open_door(studio_url: str) -> asyncio.Server:
    """Take the address and carry what comes there to the studio.

    Raises:
        DoorFault: the address cannot be taken.
    """
    taken = subprocess.run(
        ["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"],
        capture_output=True,
        text=True,
        check=False,
    )
    if taken.returncode:
        raise DoorFault(
            f"The node cannot take the address {ADDRESS}: {' '.join(taken.stderr.split())[:200]}"
        )
    host, port = urlsplit(studio_url).hostname or "127.0.0.1", find_port(studio_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opened = await asyncio.open_connection(host, port)
        except OSError:  # the studio is away: so it is for who called
            writer.close()
            return
        await join(reader, writer, *opened)

    try:
        return await asyncio.start_server(serve, ADDRESS, port, backlog=512)
    except OSError as error:
        raise DoorFault(f"Port {port} of {ADDRESS} is taken: {error}.") from error
