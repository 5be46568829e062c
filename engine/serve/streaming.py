"""Carries answers from the backend's thread to one HTTP response, and a closed connection back.

The response reads the connection while it answers, so that a reader who leaves frees the place at
once, whether the answer is streamed or not.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self

import anyio
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from engine.serve.answer_shape import AnswerShape
from engine.serve.asking import AnswerFailed, Asked, Gathering, check_piece
from engine.serve.backend import Backend, Piece
from engine.serve.metrics import Meters
from engine.serve.openai_shapes import shape_error


class LiveAnswer:
    """Answers under way, as pieces that the event loop can wait for."""

    def __init__(self, backend: Backend, asked: Asked, meters: Meters) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        self._early: deque[tuple[int, Piece]] = deque()
        self._gathering = Gathering(backend, asked, self._pass_on)
        self._meters = meters
        self.shape = asked.shape

    @classmethod
    async def start(cls, backend: Backend, asked: Asked, meters: Meters) -> Self:
        """Submit what is asked; a long prompt takes a while to tokenize, so not on this thread.

        Where a prompt is answered several times, this waits for its first answer's first piece.

        Raises:
            RequestRefused: the request cannot be answered.
        """
        answer = cls(backend, asked, meters)
        gathering = answer._gathering
        try:
            await asyncio.to_thread(gathering.begin_first)
            if gathering.has_more:
                await answer._wait_for_first()
                await asyncio.to_thread(gathering.begin_more)
        except BaseException:
            gathering.abort()
            raise
        return answer

    def abort(self) -> None:
        """Stop making them."""
        self._gathering.abort()

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """Yield every piece up to the last, with the number of its answer.

        Raises:
            AnswerFailed: the backend gave up.
        """
        num_open = self._gathering.num_answers
        num_given = 0
        while num_open:
            index, piece = self._early.popleft() if self._early else await self._pieces.get()
            check_piece(piece)
            self._meters.see_piece(is_first=num_given == 0)
            num_given += 1
            num_open -= bool(piece.finish)
            yield index, piece

    async def _wait_for_first(self) -> None:
        begun: set[int] = set()
        while len(begun) < self._gathering.num_first:
            index, piece = await self._pieces.get()
            check_piece(piece)
            begun.add(index)
            self._early.append((index, piece))

    def _pass_on(self, index: int, piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to read
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, (index, piece))


class AnswerResponse(Response):
    """Sends answers as one JSON body or as server-sent events."""

    def __init__(self, answer: LiveAnswer, *, stream: bool, usage: bool) -> None:
        self.background = None
        self._answer = answer
        self._shape: AnswerShape = answer.shape
        self._is_stream = stream
        self._wants_usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until done or until the reader leaves."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when_left, group.cancel_scope, receive)
                if self._is_stream:
                    await self._send_stream(send)
                else:
                    await (await self._make_whole())(scope, receive, send)
                group.cancel_scope.cancel()
        finally:
            self._answer.abort()

    async def _make_whole(self) -> Response:
        try:
            async for index, piece in self._answer.pieces():
                self._shape.push(index, piece)
        except AnswerFailed as error:
            return JSONResponse(_shape_failure(error), error.status)
        return JSONResponse(self._shape.whole())

    async def _send_stream(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for data in self._events():
            body = f"data: {data}\n\n".encode("utf-8", "replace")
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[str]:
        for index in range(self._shape.num_choices):
            for event in self._shape.open(index):
                yield _dump(event)
        try:
            async for index, piece in self._answer.pieces():
                for event in self._shape.push(index, piece):
                    yield _dump(event | self._shape.take_begun())
        except AnswerFailed as error:
            yield _dump(_shape_failure(error))
            return
        if self._wants_usage:
            yield _dump(self._shape.usage_event())
        yield "[DONE]"


async def _cancel_when_left(scope: anyio.CancelScope, receive: Receive) -> None:
    await wait_left(receive)
    scope.cancel()


async def wait_left(receive: Receive) -> None:
    """Wait until whoever asked has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _shape_failure(error: AnswerFailed) -> dict[str, Any]:
    return shape_error(error.message, "server_error", error.code, None)


def _dump(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
