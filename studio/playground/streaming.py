"""One turn as server-sent events: every side at once, each answer kept however it ends.

A browser that goes away cancels the generator: what has come by then is kept as `stopped`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import structlog
from channels.db import database_sync_to_async
from rest_framework.utils.encoders import JSONEncoder

from studio.accounts.models import User
from studio.core.errors import NotFound, StudioError
from studio.playground.models import MessageState
from studio.playground.services import Ask, Reply, Turn, keep_reply
from studio.playground.shapes import show_message
from studio.serving.gateway import open_answer
from studio.serving.selectors import get_context_tokens

log = structlog.get_logger(__name__)
_END: tuple[str, dict[str, Any]] = ("end", {})
Event = tuple[str, dict[str, Any]]


async def stream_turn(user: User, turn: Turn, ask: Ask) -> AsyncIterator[bytes]:
    """Yield a turn's events as they come; `end` is the last."""
    events: asyncio.Queue[Event] = asyncio.Queue()
    sides = [_Side(user, turn, ask, side, events) for side in range(len(ask.models))]
    tasks = [asyncio.create_task(side.run()) for side in sides]
    ender = asyncio.create_task(_end_after(tasks, events))
    try:
        while (event := await events.get()) != _END:
            yield encode_event(*event)
        yield encode_event(*_END)
    finally:
        for task in tasks:
            task.cancel()
        # Each side keeps its answer before it ends, even when this generator is being cancelled.
        await _finish([*tasks, ender])


def encode_event(name: str, body: dict[str, Any]) -> bytes:
    """Return one server-sent event (HTML standard, section 9.2)."""
    data = json.dumps(body, cls=JSONEncoder, ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n".encode()


class _Side:
    """One model's answer in a turn."""

    def __init__(
        self, user: User, turn: Turn, ask: Ask, side: int, events: "asyncio.Queue[Event]"
    ) -> None:
        self._user, self._turn, self._ask, self._events = user, turn, ask, events
        self._reply = Reply(side=side, model=ask.models[side])
        self._begun_at: float | None = None
        self._first_at: float | None = None

    async def run(self) -> None:
        """Get the answer and keep it; the answer's own failure is part of it."""
        self._say("status", state="waiting")
        failure: StudioError | None = None
        try:
            await self._receive()
            self._reply.state = MessageState.COMPLETE
        except StudioError as error:
            failure = error
        except asyncio.CancelledError:
            await _shield(self._keep())
            raise
        except Exception:  # the outermost frame of a side: one must not end the others
            log.exception("playground.side_failed", model=self._reply.model)
            failure = StudioError("The studio failed at this answer: try again.", code="internal")
        if failure is not None:
            self._reply.state, self._reply.error = MessageState.FAILED, failure.message
        message = await _shield(self._keep())
        if failure is not None:
            self._say("error", code=failure.code, message=failure.message)
        elif message is not None:
            self._say("done", message=message)

    async def _receive(self) -> None:
        self._begun_at = _now()
        body = {
            "model": self._reply.model,
            "messages": self._turn.histories[self._reply.side],
            "temperature": self._ask.temperature,
            "top_p": self._ask.top_p,
            "max_tokens": await self._bound_answer(),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._ask.seed is not None:
            body["seed"] = self._ask.seed
        answer = await open_answer(
            self._user, body, on_start=lambda: self._say("status", state="starting")
        )
        try:
            async with aclosing(answer.events()) as events:
                async for event in events:
                    self._take(event)
        finally:
            await answer.close()

    async def _bound_answer(self) -> int:
        """Return how long the answer may be: half of a small model's window, so that both fit."""
        read = database_sync_to_async(get_context_tokens)
        context = await read(self._user, self._reply.model)
        wanted = self._ask.max_tokens
        return wanted if context is None else min(wanted, max(1, context // 2))

    def _take(self, event: dict[str, Any]) -> None:
        if isinstance(error := event.get("error"), dict):
            raise StudioError(str(error.get("message")), code=str(error.get("code") or "failed"))
        for choice in event.get("choices") or []:
            text = (choice.get("delta") or {}).get("content") or ""
            if text:
                self._take_text(text)
        if isinstance(usage := event.get("usage"), dict):
            self._reply.num_prompt_tokens = usage.get("prompt_tokens")
            self._reply.num_tokens = usage.get("completion_tokens")

    def _take_text(self, text: str) -> None:
        if self._first_at is None:
            self._first_at = _now()
            self._say("status", state="generating")
        text = text.replace("\0", "")
        self._reply.content += text
        self._say("delta", text=text)

    async def _keep(self) -> dict[str, Any] | None:
        self._measure()
        with suppress(NotFound):  # the conversation was deleted meanwhile
            message = await database_sync_to_async(keep_reply)(turn=self._turn, reply=self._reply)
            return show_message(message)
        return None

    def _measure(self) -> None:
        """Count time from the prompt to the first token, and speed from there on."""
        if self._begun_at is None or self._first_at is None:
            return
        self._reply.first_token_ms = round((self._first_at - self._begun_at) * 1000, 1)
        elapsed_s = _now() - self._first_at
        num_after_first = (self._reply.num_tokens or 0) - 1
        if num_after_first > 0 and elapsed_s > 0:
            self._reply.tokens_per_s = round(num_after_first / elapsed_s, 2)

    def _say(self, name: str, **body: Any) -> None:
        self._events.put_nowait((name, {"side": self._reply.side, **body}))


async def _end_after(tasks: "list[asyncio.Task[None]]", events: "asyncio.Queue[Event]") -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    events.put_nowait(_END)


async def _shield(work: Any) -> Any:
    """Finish some work although the task is being cancelled, and only then let that happen."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _finish(tasks: "list[asyncio.Task[None]]") -> None:
    everything = asyncio.gather(*tasks, return_exceptions=True)
    await _shield(everything)


def _now() -> float:
    return time.perf_counter()  # a loop's own clock counts whole milliseconds
