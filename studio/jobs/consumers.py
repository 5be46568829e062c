"""Live views over WebSocket. A wake says only that there is something; what is sent is always
read from the database after the page's own cursor, so a lost wake delays and never loses.

The sockets do not lean on Redis: they open, and read at each poll, while it is away.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qs

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError
from redis.exceptions import RedisError
from rest_framework.utils.encoders import JSONEncoder

from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.jobs.history import read_events
from studio.jobs.selectors import describe_job, get_job, get_run
from studio.jobs.serializers import JobOutput
from studio.jobs.wakes import run_group, user_group

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

NOT_SIGNED_IN = 4401
NOT_FOUND = 4404
COME_AGAIN = 4412  # as another person, or to hear 4401: a new password is a new session, too
POLL_S = 2.0
RECHECK_S = 10.0
_FAILED = 1011  # RFC 6455, section 7.4.1
_RETRY_S = 1.0
_MOST_EVENTS = 500


class WokenConsumer(AsyncJsonWebsocketConsumer):
    """A socket that works whenever it is woken, and every 2 s without."""

    channel_layer_alias = ""  # the wakes below are listened to by hand: Redis may be away
    _tasks: tuple[asyncio.Task[None], ...] = ()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Live as long as the socket, and leave nothing running however it ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def connect(self) -> None:
        self.user: User = self.scope["user"]
        self._asked_at = asyncio.get_running_loop().time()
        self._is_woken = asyncio.Event()
        self._heard: list[dict[str, Any]] = []
        await self.accept()  # a browser learns a close code only of a socket that was open
        if not self.user.is_authenticated or not self.user.is_active:
            await self.close(NOT_SIGNED_IN)
            return
        try:
            group = await self.open()
        except NotFound:
            await self.close(NOT_FOUND)
            return
        self._tasks = (asyncio.create_task(self._listen(group)), asyncio.create_task(self._work()))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pass over whatever a page says: these sockets only speak."""

    async def open(self) -> str:
        """Check that the caller may watch, and name the group whose wakes to hear."""
        raise NotImplementedError

    async def work(self, heard: list[dict[str, Any]]) -> None:
        """Send what is new. `heard` are the wakes since the last time; empty at a poll."""
        raise NotImplementedError

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        return json.dumps(content, cls=JSONEncoder, ensure_ascii=False)

    async def _listen(self, group: str) -> None:
        """Hear the group's wakes; with Redis away try again until it is back."""
        while True:
            layer = get_channel_layer()
            channel = ""
            try:
                channel = await layer.new_channel()
                await layer.group_add(group, channel)
                while True:
                    wake = await layer.receive(channel)
                    self._heard.append(wake)
                    self._is_woken.set()
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("live.deaf", group=group, error=str(error))
                await asyncio.sleep(_RETRY_S)
            finally:
                if channel:
                    await _leave(layer, group, channel)

    async def _work(self) -> None:
        code = None
        while code is None:
            heard, self._heard = self._heard, []
            self._is_woken.clear()
            code = await self._work_once(heard)
            if code is None and not self._heard:  # else woken meanwhile
                await self._rest()
        with contextlib.suppress(OSError):
            await self.close(code)

    async def _work_once(self, heard: list[dict[str, Any]]) -> int | None:
        """Return the code to close with, if this was the last time."""
        try:
            if not await self._is_welcome():
                return COME_AGAIN
            await self.work(heard)
        except NotFound:
            return NOT_FOUND
        except (DatabaseError, InterfaceError) as error:  # away: the next poll reads on
            log.warning("live.unread", error=str(error))
        except OSError:  # the page has left, and its disconnect is on the way
            return _FAILED
        except Exception:  # the outermost frame: a page whose socket closes comes back by itself
            log.exception("live.failed")
            return _FAILED
        return None

    async def _is_welcome(self) -> bool:
        """Ask again, every 10 s, who is there: rights end while sockets are open."""
        now = asyncio.get_running_loop().time()
        if now >= self._asked_at + RECHECK_S:
            self.user = await self.scope["look_again"]()
            self._asked_at = now
        return bool(self.user.is_authenticated and self.user.is_active)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._is_woken.wait()
        except TimeoutError:
            pass


def _database_call(read: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Read in a thread of a pool: outside a request all sockets would wait for one thread."""
    return database_sync_to_async(read, thread_sensitive=False)


class RunConsumer(WokenConsumer):
    """One run's events after a cursor, in order, and its job whenever that changed."""

    async def open(self) -> str:
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        after = query.get("after", ["0"])[0]
        self._next_seq = int(after) if after.isdecimal() and len(after) < 19 else 0
        self._sent_job: dict[str, Any] | None = None
        self._run_id = self.scope["url_route"]["kwargs"]["run_id"]
        await _database_call(get_run)(self.user, self._run_id)
        return run_group(self._run_id)

    async def work(self, heard: list[dict[str, Any]]) -> None:
        if not heard or any(wake.get("is_moved") for wake in heard):
            await self._send_job()
        while True:
            events, next_seq = await _database_call(self._read_events)()
            if not events:
                return
            await self.send_json({"type": "events", "events": events, "next_seq": next_seq})
            self._next_seq = next_seq

    async def _send_job(self) -> None:
        job = await _database_call(self._read_job)()
        if job != self._sent_job:
            await self.send_json({"type": "job", "job": job})
            self._sent_job = job

    def _read_job(self) -> dict[str, Any]:
        run = get_run(self.user, self._run_id)
        return dict(JobOutput(describe_job(get_job(self.user, run.job_id))).data)

    def _read_events(self) -> tuple[list[dict[str, Any]], int]:
        run = get_run(self.user, self._run_id)
        return read_events(run, after=self._next_seq, limit=_MOST_EVENTS)


class MineConsumer(WokenConsumer):
    """Says which of a person's lists to read anew; at a poll it says nothing."""

    async def open(self) -> str:
        return user_group(self.user.pk)

    async def work(self, heard: list[dict[str, Any]]) -> None:
        what = sorted({name for wake in heard for name in wake["what"]})
        if what:
            await self.send_json({"type": "changed", "what": what})


async def _leave(layer: Any, group: str, channel: str) -> None:
    try:
        await layer.group_discard(group, channel)
    except (RedisError, OSError, ValueError) as error:
        log.warning("live.not_left", group=group, error=str(error))
