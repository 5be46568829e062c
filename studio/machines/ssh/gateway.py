"""The SSH gateway: one address for all machines, `ssh NAME@host`, by the keys of people's profiles.

It ends the guest's connection (RFC 4252 to 4254) and opens another to the machine's own sshd, by a
key of its own (`machine_side`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakSet

import asyncssh
import structlog
from asyncssh.stream import SSHTCPStreamSession, SSHUNIXStreamSession
from django.conf import settings

from studio.core.errors import StudioError
from studio.core.threads import in_a_thread
from studio.machines.moments import note_presence
from studio.machines.ssh.access import Guest, enter, find_guest, find_who_must_go
from studio.machines.ssh.host_keys import read_host_key
from studio.machines.ssh.machine_side import KEEPALIVE_S, LOGIN_S, connect_machine
from studio.machines.ssh.sessions import GuestSession

log = structlog.get_logger(__name__)

SWEEP_EVERY_S = 1.5
_PIECE = 256 * 1024
_MOST_AUTHENTICATING = 200
Streams = tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]


class Gateway:
    """Everybody's connections."""

    def __init__(self) -> None:
        """Nobody is here."""
        self.guests: set[GuestConnection] = set()
        self.num_authenticating = 0
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen and return the port, which is chosen where `port` is 0.

        Raises:
            OSError: the address cannot be taken.
        """
        self._acceptor = await asyncssh.create_server(
            lambda: GuestConnection(self),
            host,
            port,
            server_host_keys=[await asyncio.to_thread(read_host_key)],
            server_version="Athanor",
            encoding=None,
            line_editor=False,
            allow_pty=True,
            agent_forwarding=True,
            x11_forwarding=False,
            allow_scp=False,
            login_timeout=LOGIN_S,
            keepalive_interval=KEEPALIVE_S,
            keepalive_count_max=4,
            compression_algs=None,
        )
        self._sweeping = asyncio.create_task(self._sweep_forever())
        return int(self._acceptor.get_port())

    async def close(self) -> None:
        """Let everybody go."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._acceptor is not None:
            self._acceptor.close()
        for guest in list(self.guests):
            guest.dismiss("The gateway is restarting: connect again.")

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self.sweep()
            except Exception:  # the database may be away: who is here stays until it is back
                log.exception("ssh.sweep_failed")

    async def sweep(self) -> None:
        """Let go who may not be here any more, or has been silent for too long."""
        present = {each: each.guest for each in self.guests if each.guest is not None}
        asked = list(set(present.values()))
        gone = await in_a_thread(find_who_must_go)(asked) if asked else {}
        for connection, guest in present.items():
            if guest in gone:
                connection.dismiss(gone[guest])
            elif connection.idle_s > settings.SSH_IDLE_S:
                connection.dismiss("Nothing has moved here for a long time.")
            else:
                await note_presence(guest.machine_key, "ssh")


class GuestConnection(asyncssh.SSHServer):
    """One client's connection, and the one to its machine that it brings about."""

    def __init__(self, gateway: Gateway) -> None:
        """Know nobody yet."""
        self._gateway = gateway
        self._name = ""
        self._is_counted = False
        self._found: Guest | None = None
        self.guest: Guest | None = None
        self._conn: asyncssh.SSHServerConnection | None = None
        self._machines: dict[str, asyncio.Task[asyncssh.SSHClientConnection]] = {}
        """To the machine, by the guest's agent that goes there; "" is the one without."""
        self._moved_at = time.monotonic()
        self._sessions: WeakSet[GuestSession] = WeakSet()

    @property
    def idle_s(self) -> float:
        """Return for how long nothing has moved."""
        return time.monotonic() - self._moved_at

    def touch(self) -> None:
        """Note that something moves."""
        self._moved_at = time.monotonic()

    def dismiss(self, sentence: str) -> None:
        """End the connection; the client shows the sentence."""
        if self._conn is not None:
            log.info("ssh.dismissed", machine=self.guest and self.guest.machine_key, why=sentence)
            for session in self._sessions:
                session.tell(sentence)
            self._conn.disconnect(asyncssh.DISC_BY_APPLICATION, sentence)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Count who has not signed in yet: a flood of them is turned away."""
        self._conn = conn
        if self._gateway.num_authenticating >= _MOST_AUTHENTICATING:
            conn.disconnect(asyncssh.DISC_TOO_MANY_CONNECTIONS, "Too many at once: try again.")
            return
        self._gateway.num_authenticating += 1
        self._is_counted = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the machine's side."""
        self._uncount()
        self._gateway.guests.discard(self)
        for machine in self._machines.values():
            machine.add_done_callback(_close)
            machine.cancel()
        if self.guest is not None:
            log.info("ssh.closed", machine=self.guest.machine_key, user=self.guest.username)

    def begin_auth(self, username: str) -> bool:
        """Ask for a key, whoever it is."""
        self._name = username
        return True

    def public_key_auth_supported(self) -> bool:
        """Take keys, and nothing else."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Say whether this key's person has a machine of this name."""
        if username != self._name or len(username) > 60:
            return False
        self._found = await in_a_thread(find_guest)(username, key)
        return self._found is not None

    def auth_completed(self) -> None:
        """Let the guest in: the last key that was found is the one that signed."""
        self._uncount()
        self.guest = self._found
        self._gateway.guests.add(self)
        assert self.guest is not None
        log.info("ssh.opened", machine=self.guest.machine_key, user=self.guest.username)

    def _uncount(self) -> None:
        if self._is_counted:
            self._gateway.num_authenticating -= 1
            self._is_counted = False

    async def reach_machine(self, agent_path: str | None = None) -> asyncssh.SSHClientConnection:
        """Return the connection to the machine, made by whoever asks first with that agent.

        A client's later session may bring an agent where its first had none (`ControlMaster`), and
        sshd hands on that of the connection. asyncssh has one path for all of a guest's sessions.

        Raises:
            StudioError: the machine does not run; the sentence is for the guest.
            asyncssh.Error, OSError: its sshd does not answer.
        """
        key = agent_path or ""
        machine = self._machines.get(key)
        if machine is None or (machine.done() and machine.exception()):
            machine = self._machines[key] = asyncio.create_task(self._connect(agent_path))
        return await asyncio.shield(machine)

    async def _connect(self, agent_path: str | None) -> asyncssh.SSHClientConnection:
        assert self.guest is not None
        door = await in_a_thread(enter)(self.guest)
        await note_presence(self.guest.machine_key, "ssh")
        return await connect_machine(door, agent_path=agent_path)

    def session_requested(self) -> GuestSession:
        """Take a shell, a command or a subsystem."""
        session = GuestSession(self.reach_machine, self.touch)
        self._sessions.add(session)
        return session

    def connection_requested(self, dest_host: str, dest_port: int, *orig: Any) -> Any:
        """Take a connection that the client forwards (`-L`), from inside the machine."""
        return self._open_tcp(dest_host, dest_port)

    def unix_connection_requested(self, dest_path: str) -> Any:
        """Take a connection that the client forwards to a socket in the machine."""
        return self._open_unix(dest_path)

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        """Listen in the machine for the client (`-R`), where the studio allows that."""
        if not settings.SSH_ALLOW_REMOTE_FORWARD:
            return False
        return self._listen(listen_host, listen_port)

    async def _open_tcp(self, host: str, port: int) -> SSHTCPStreamSession[bytes]:
        opened = await self._open(lambda machine: machine.open_connection(host, port))
        return SSHTCPStreamSession(self._make_bridge(opened))

    async def _open_unix(self, path: str) -> SSHUNIXStreamSession[bytes]:
        opened = await self._open(lambda machine: machine.open_unix_connection(path))
        return SSHUNIXStreamSession(self._make_bridge(opened))

    async def _open(
        self, ask: Callable[[asyncssh.SSHClientConnection], Awaitable[Streams]]
    ) -> Streams:
        try:
            return await ask(await self.reach_machine())
        except StudioError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, error.message) from error
        except (asyncssh.DisconnectError, OSError) as error:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_CONNECT_FAILED, "the machine does not answer"
            ) from error

    async def _listen(self, host: str, port: int) -> asyncssh.SSHListener:
        machine, conn = await self.reach_machine(), self._conn
        assert conn is not None

        def accept(orig_host: str, orig_port: int) -> Any:
            async def carry(reader: Any, writer: Any) -> None:
                other = await conn.open_connection(host, port, orig_host, orig_port)
                await self._bridge((reader, writer), other)

            return carry

        return await machine.start_server(accept, host, port)

    def _make_bridge(self, opened: Streams) -> Callable[..., Awaitable[None]]:
        async def carry(reader: Any, writer: Any) -> None:
            await self._bridge((reader, writer), opened)

        return carry

    async def _bridge(self, one: Streams, other: Streams) -> None:
        try:
            await asyncio.gather(self._carry(one[0], other[1]), self._carry(other[0], one[1]))
        except (asyncssh.Error, OSError):  # one side has gone
            pass
        finally:
            one[1].close()
            other[1].close()

    async def _carry(
        self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]
    ) -> None:
        while piece := await reader.read(_PIECE):
            self.touch()
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


def _close(task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
