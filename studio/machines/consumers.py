"""A terminal of a machine in the browser: binary frames are its bytes, text frames are about it.

From the page: `{"type": "size", "columns", "rows"}`, `{"type": "read", "bytes"}` for what it has
shown, `{"type": "kill"}`. To it: `opened`, `ended`, `away` (with a code and a sentence), `alive`.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qs

import asyncssh
import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from studio.accounts.models import User
from studio.core.errors import NotFound, StudioError
from studio.jobs.consumers import NOT_FOUND, NOT_SIGNED_IN
from studio.machines.moments import note_presence
from studio.machines.tabs import TERMINAL, note_tab
from studio.machines.terminals import (
    Entry,
    Shell,
    enter_as_owner,
    may_stay,
    open_shell,
    read_name,
    read_size,
)

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

NOT_RUNNING = 4409
IDLE = 4408
LOST = 1012  # RFC 6455's registry: the service restarts, come again
OVER = 1000
LOOKS_AGAIN_S = 1.5
_ALIVE_S = 15.0
_MOST_UNREAD = 512 * 1024
_MOST_EARLY = 64 * 1024


class TerminalConsumer(AsyncWebsocketConsumer):
    """One terminal of a machine's owner, and of nobody else."""

    channel_layer_alias = ""  # nothing here hears wakes
    _living: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Live as long as the socket, and leave nothing running however it ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._living is not None:
                self._living.cancel()
                await asyncio.gather(self._living, return_exceptions=True)

    async def connect(self) -> None:
        self.user: User = self.scope["user"]
        self._shell: Shell | None = None
        self._early = bytearray()
        self._num_unread, self._is_read = 0, asyncio.Event()
        await self.accept()  # a browser learns a close code only of a socket that was open
        # A token is a script's, and scripts have SSH.
        if not self.user.is_authenticated or self.scope.get("session") is None:
            await self.close(NOT_SIGNED_IN)
            return
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        said = {name: values[0] for name, values in query.items()}
        self._name = read_name(said.get("shell", ""))
        self._size = read_size(said.get("columns"), said.get("rows"))
        self._touch()
        self._living = asyncio.create_task(self._live())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take what the page types; a machine that is slow to read slows the page."""
        if bytes_data is not None:
            self._touch()
            await self._type(bytes_data)
        elif text_data is not None:
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                await self._heed(json.loads(text_data))

    async def _type(self, data: bytes) -> None:
        if self._shell is None:
            self._early += data[: max(0, _MOST_EARLY - len(self._early))]
            return
        with contextlib.suppress(OSError, asyncssh.Error):  # its end is told by what reads it
            await self._shell.write(data)

    async def _heed(self, said: dict[str, Any]) -> None:
        if said["type"] == "size":
            self._size = read_size(said["columns"], said["rows"])
            if self._shell is not None:
                self._shell.resize(self._size)
        elif said["type"] == "read":
            self._num_unread = max(0, self._num_unread - int(said["bytes"]))
            self._is_read.set()
        elif said["type"] == "kill" and self._shell is not None:
            with contextlib.suppress(OSError, asyncssh.Error):
                await self._shell.kill()

    def _touch(self) -> None:
        """Note that something moved in this terminal: both directions come by here."""
        self._moved_at = time.monotonic()

    async def _live(self) -> None:
        """Open the shell, carry it, and close with the code that says why it ended."""
        code = LOST
        try:
            code = await self._carry()
        except NotFound:
            code = NOT_FOUND
        except StudioError as error:
            code = await self._say_away(error.code, error.message)
        except (asyncssh.Error, OSError, TimeoutError) as error:
            log.info("terminal.lost", machine=self._key, error=str(error))
            code = await self._say_away("sshd_away", "The machine's SSH server does not answer.")
        except Exception:  # the outermost frame: a page whose terminal closes comes back by itself
            log.exception("terminal.failed")
        finally:
            if self._shell is not None:
                self._shell.close()
        with contextlib.suppress(OSError, RuntimeError):  # the page has left already
            await self.close(code)

    async def _carry(self) -> int:
        entry = await _database_call(enter_as_owner)(self.user, self._key)
        shell = await open_shell(entry.door, self._name, self._size)
        self._shell = shell
        await _database_call(note_tab)(self.user, self._key, TERMINAL)
        await self._say(type="opened", shell=shell.name, kept=shell.kept, is_kept=shell.is_kept)
        shell.resize(self._size)
        if self._early:
            await self._type(bytes(self._early))
        tasks = [asyncio.create_task(self._show(shell)), asyncio.create_task(self._watch(entry))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _show(self, shell: Shell) -> int:
        """Send what the shell says, no more at once than the page has room for."""
        while piece := await shell.read():
            self._touch()
            await self.send(bytes_data=piece)
            self._num_unread += len(piece)
            while self._num_unread > _MOST_UNREAD:
                self._is_read.clear()
                await self._is_read.wait()
        status = await shell.find_end()
        if status is None:
            return LOST
        await self._say(type="ended", status=status)
        return OVER

    async def _watch(self, entry: Entry) -> int:
        """Return when the page's right to be here has ended, with the code for that."""
        said_at = time.monotonic()
        while True:
            await note_presence(entry.door.machine_key, "browser")
            await asyncio.sleep(LOOKS_AGAIN_S)
            try:
                user = await self.scope["look_again"]()
                if user.pk != self.user.pk or not user.is_authenticated or not user.is_active:
                    return NOT_SIGNED_IN
                if not await _database_call(may_stay)(user, entry):
                    return NOT_RUNNING
            except (DatabaseError, InterfaceError) as error:  # away: who is here stays
                log.warning("terminal.unread", error=str(error))
            if time.monotonic() - self._moved_at > settings.SSH_IDLE_S:
                return IDLE
            if time.monotonic() - said_at > _ALIVE_S:  # tells of a page that is not there any more
                await self._say(type="alive")
                said_at = time.monotonic()

    async def _say_away(self, code: str, message: str) -> int:
        with contextlib.suppress(OSError, RuntimeError):
            await self._say(type="away", code=code, message=message)
        return NOT_RUNNING if code == "machine_not_running" else LOST

    async def _say(self, **what: Any) -> None:
        await self.send(text_data=json.dumps(what))

    @property
    def _key(self) -> str:
        return str(self.scope["url_route"]["kwargs"]["key"])


def _database_call(read: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    return database_sync_to_async(read, thread_sensitive=False)
