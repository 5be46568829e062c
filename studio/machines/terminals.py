"""Shells in a machine for terminals of the browser: bytes both ways over the machine's sshd.

Where the machine has tmux, a shell is a session of it: the browser, the studio and its connection
may go, and the shell stays. Who may is asked by `consumers`.
"""

import re
from dataclasses import dataclass
from uuid import UUID

import asyncssh

from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.machines.doors import Door, find_door
from studio.machines.models import Machine, Status
from studio.machines.selectors import get_by_key
from studio.machines.ssh.machine_side import connect_machine

MOST_SHELLS = 16
_NAME = re.compile(r"web-([1-9][0-9]?)")
_MOST_SIDE = 1000
_PIECE = 32 * 1024
_SHOWN_LINES = 3000
"""Of what scrolled by before a shell was come back to."""
# One line `tmux` where there is one, then the names of its sessions.
_LOOK = "command -v tmux >/dev/null || exit 0; echo tmux; tmux list-sessions -F '#S' 2>/dev/null; :"
_KILL = "tmux kill-session -t ={name}"
_KEPT = """\
s={name}
if [ "$(tmux display-message -p -t "=$s:" '#{{history_size}}' 2>/dev/null || echo 0)" -gt 0 ]; then
    tmux capture-pane -p -e -S -{lines} -E -1 -t "=$s:"; yes '' | head -n {rows}
fi
exec tmux -u new-session -A -s "$s" \\; set-option status off
"""


@dataclass(frozen=True)
class Size:
    """A terminal's, in letters."""

    columns: int
    rows: int


@dataclass(frozen=True)
class Entry:
    """The way in for a machine's owner, good for one start of it."""

    machine_id: UUID
    start: int
    door: Door


def read_name(text: str) -> str:
    """Return the name of a shell, such as `web-1`; of what is none, the first's."""
    found = _NAME.fullmatch(text)
    return text if found and int(found[1]) <= MOST_SHELLS else "web-1"


def read_size(columns: object, rows: object) -> Size:
    """Return a size within bounds, whatever a page says."""
    return Size(_read_side(columns, 80), _read_side(rows, 24))


def enter_as_owner(user: User, key: str) -> Entry:
    """Return the way into a machine for its owner. An operator's role opens nobody else's.

    Raises:
        NotFound: there is none of that key, or it is not theirs.
        Unavailable: it does not run, or its node has no relay now.
    """
    machine = get_by_key(key)
    if machine is None or machine.owner_id != user.pk:
        raise NotFound
    return Entry(machine.pk, machine.start, find_door(machine))


def may_stay(user: User, entry: Entry) -> bool:
    """Say whether it still runs, and is theirs."""
    running = Machine.objects.filter(
        pk=entry.machine_id, owner_id=user.pk, start=entry.start, status=Status.RUNNING
    )
    return running.exists()


class Shell:
    """One shell with its terminal, open."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        process: asyncssh.SSHClientProcess[bytes],
        *,
        name: str,
        kept: tuple[str, ...] | None,
    ) -> None:
        """Take both; `kept` are the machine's other shells, None where it cannot keep any."""
        self._connection, self._process = connection, process
        self.name, self.kept = name, kept

    @property
    def is_kept(self) -> bool:
        """Whether it stays when nobody looks."""
        return self.kept is not None

    async def read(self) -> bytes:
        """Return what it says next, as it comes; nothing at its end. A slow reader slows it."""
        return await self._process.stdout.read(_PIECE)

    async def write(self, data: bytes) -> None:
        """Type; returns when there is room for more.

        Raises:
            OSError: it has gone.
        """
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    def resize(self, size: Size) -> None:
        """Tell it the window's new size."""
        self._process.change_terminal_size(size.columns, size.rows)

    async def find_end(self) -> int | None:
        """Return its exit status; None where the connection was lost instead."""
        await self._process.wait_closed()
        return self._process.returncode

    async def kill(self) -> None:
        """End the shell itself, kept or not."""
        if self.is_kept:
            await self._connection.run(_KILL.format(name=self.name))
        self._process.close()

    def close(self) -> None:
        """Let go of it; one that is kept stays."""
        self._process.close()
        self._connection.close()


async def open_shell(door: Door, name: str, size: Size) -> Shell:
    """Open a shell in a machine, or come back to the one of that name that is kept there.

    Raises:
        StudioError: the machine cannot be reached; the sentence is for people.
        asyncssh.Error, OSError: its sshd does not answer as one does.
    """
    connection = await connect_machine(door)
    try:
        words = str((await connection.run(_LOOK, encoding="utf-8")).stdout or "").split()
        kept = tuple(word for word in words[1:] if _NAME.fullmatch(word)) if words else None
        command = (
            "" if kept is None else _KEPT.format(name=name, lines=_SHOWN_LINES, rows=size.rows)
        )
        process = await connection.create_process(
            command or None,
            term_type="xterm-256color",
            term_size=(size.columns, size.rows),
            env={"LANG": "C.UTF-8", "COLORTERM": "truecolor"},
            encoding=None,
        )
    except BaseException:
        connection.close()
        raise
    return Shell(connection, process, name=name, kept=kept)


def _read_side(given: object, usual: int) -> int:
    text = str(given)
    if not (text.isascii() and text.isdigit()):
        return usual
    return max(2, min(int(text[:6]), _MOST_SIDE))
