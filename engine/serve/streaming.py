"""Carries an answer from the backend's thread to one HTTP response, and a closed connection back.

The response reads the connection while it answers, so that a reader who leaves frees the place at
once, whether the answer is streamed or not.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self

import anyio
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from engine.serve.backend import Backend, ChatRequest, Generation, Piece
from engine.serve.openai_shapes import AnswerShape, shape_error


class AnswerFailed(Exception):
    """The backend could not finish an answer; its log says why."""

    message = "The model failed on this request; the server's log says why."


class LiveAnswer:
    """An answer under way, as pieces that the event loop can wait for."""

    def __init__(self, generation: Generation, pieces: asyncio.Queue[Piece]) -> None:
        self._generation = generation
        self._pieces = pieces
        self.num_prompt_tokens = generation.num_prompt_tokens

    @classmethod
    async def start(cls, backend: Backend, request: ChatRequest) -> Self:
        """Submit a request; a long conversation takes a while to tokenize, so not on this thread.

        Raises:
            RequestRefused: the request cannot be answered.
        """
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece] = asyncio.Queue()

        def pass_on(piece: Piece) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to read
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        return cls(await asyncio.to_thread(backend.submit, request, pass_on), pieces)

    def abort(self) -> None:
        """Stop making it."""
        self._generation.abort()

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield every piece up to the last.

        Raises:
            AnswerFailed: the backend gave up.
        """
        while True:
            piece = await self._pieces.get()
            if piece.finish in ("error", "abort"):
                raise AnswerFailed
            yield piece
            if piece.finish:
                return


class AnswerResponse(Response):
    """Sends an answer as one JSON body or as server-sent events."""

    def __init__(
        self, answer: LiveAnswer, shape: AnswerShape, *, stream: bool, usage: bool
    ) -> None:
        self.background = None
        self._answer = answer
        self._shape = shape
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
        text: list[str] = []
        try:
            async for piece in self._answer.pieces():
                text.append(piece.text)
        except AnswerFailed as error:
            return JSONResponse(shape_error(error.message, "server_error", "failed", None), 500)
        assert piece.finish
        body = self._shape.whole(
            "".join(text), piece.finish, self._answer.num_prompt_tokens, piece.num_tokens
        )
        return JSONResponse(body)

    async def _send_stream(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for data in self._events():
            body = f"data: {data}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[str]:
        yield _dump(self._shape.chunk({"role": "assistant", "content": ""}, None))
        try:
            async for piece in self._answer.pieces():
                if piece.text:
                    yield _dump(self._shape.chunk({"content": piece.text}, None))
        except AnswerFailed as error:
            yield _dump(shape_error(error.message, "server_error", "failed", None))
            return
        yield _dump(self._shape.chunk({}, piece.finish))
        if self._wants_usage:
            yield _dump(self._shape.usage_chunk(self._answer.num_prompt_tokens, piece.num_tokens))
        yield "[DONE]"


async def _cancel_when_left(scope: anyio.CancelScope, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _dump(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
