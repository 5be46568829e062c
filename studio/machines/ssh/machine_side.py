"""The studio's own SSH connection to a machine's sshd, by the gateway's key.

The machine's host key needs no checking here: the relay's pass says which machine it is.
"""

import asyncio
import time

import asyncssh

from studio.machines.doors import Door, NotListening, open_socket
from studio.machines.ssh.host_keys import read_gateway_key

LOGIN_S = 30
KEEPALIVE_S = 30
_SSHD_S = 15.0
"""How long a machine that has just started may take until its sshd listens."""


async def connect_machine(
    door: Door, *, agent_path: str | None = None
) -> asyncssh.SSHClientConnection:
    """Return a connection to a machine's sshd as its root; the caller closes it.

    Raises:
        StudioError: the machine cannot be reached; the sentence is for people.
        asyncssh.Error, OSError: its sshd does not answer as one does.
    """
    deadline = time.monotonic() + _SSHD_S
    while True:
        try:
            opened = await open_socket(door, 22)
            break
        except NotListening:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.3)
    return await asyncssh.connect(
        sock=opened,
        username="root",
        client_keys=[read_gateway_key()],
        known_hosts=None,
        config=None,
        agent_path=None,
        agent_forwarding=agent_path or False,
        keepalive_interval=KEEPALIVE_S,
        compression_algs=None,
        login_timeout=LOGIN_S,
    )
