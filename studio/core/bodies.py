"""Receives large request bodies into memory that is used again, or hands them on as they come.

Django collects a body in a temporary file that grows. For the doors that take 64 MiB at a time, and
verify them before anything is kept, that costs more than the verifying: see `bench/hub.py`. And an
upload to the drive must keep what came before a cut: its view reads the body while it arrives.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler

_DOORS = re.compile(r"^/api/xet/[0-9a-f]{16}/v1/xorbs/")
# Revisions and paths of a repo are one part of an address each, their own slashes escaped.
_REPOS = re.compile(r"^/(?:api/(?:models|datasets)/|(?:datasets/)?[^/]+/[^/]+/resolve/)")
_BODY_BYTES = 66 * 2**20
_MOST_AT_ONCE = 4  # more wait, unread, for their turn: memory is bounded
_STREAMS = re.compile(r"^/api/(?:drive|lfs)/uploads/")
_STREAM_METHODS = {"POST", "PATCH", "PUT"}
_SILENCE_S = 60.0  # a client that sends nothing for so long is gone
_stream: ContextVar["StreamedBody | None"] = ContextVar("stream", default=None)
_buffer: ContextVar[bytearray | None] = ContextVar("buffer", default=None)
Receive = Callable[[], Awaitable[dict[str, Any]]]


def _keep_slashes(raw_path: bytes) -> str:
    """Return the path with its escaped slashes still escaped; the repo's doors undo them."""
    escaped = re.sub(rb"%2[fF]", b"%252F", raw_path.partition(b"?")[0])
    return unquote_to_bytes(escaped).decode("utf-8", "replace")


class BodyView:
    """A body that lies in memory: reading it copies nothing."""

    def __init__(self, view: memoryview) -> None:
        """Read from a view."""
        self._view, self._at = view, 0

    def read(self, size: int = -1) -> memoryview:
        """Return the next bytes, all of them by default."""
        end = len(self._view) if size < 0 else min(self._at + size, len(self._view))
        piece = self._view[self._at : end]
        self._at = end
        return piece

    def close(self) -> None:
        """Let go of the memory."""
        self._view.release()


class StreamedBody:
    """A body that is read, by a view's thread, while it arrives. A cut ends it like its end."""

    def __init__(self, receive: Receive) -> None:
        """Read from the server's messages, on the loop that runs now."""
        self._receive, self._loop = receive, asyncio.get_running_loop()
        self._rest = b""
        self._is_over = False

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, waiting for them; none at the end or after a cut."""
        while (size < 0 or len(self._rest) < size) and not self._is_over:
            coming = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            try:
                message = coming.result(_SILENCE_S)
            except TimeoutError:
                coming.cancel()
                self._is_over = True
                break
            self._rest += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                self._is_over = True
        end = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:end], self._rest[end:]
        return piece

    def close(self) -> None:
        """Forget what nobody read."""
        self._rest, self._is_over = b"", True

    async def _next(self) -> dict[str, Any]:
        return await self._receive()


class StudioHandler(ASGIHandler):
    """Django's handler, which receives the bodies of some doors into buffers of its own."""

    def __init__(self) -> None:
        """Begin without a buffer: each is made when first needed."""
        super().__init__()
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)
        self._buffers: list[bytearray] = []

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; where its body is large, when a buffer is free."""
        if b"%2" in scope.get("raw_path", b"") and _REPOS.match(scope["path"]):
            scope = scope | {"path": _keep_slashes(scope["raw_path"])}
        if _STREAMS.match(scope["path"]) and scope["method"] in _STREAM_METHODS:
            told = _stream.set(StreamedBody(receive))
            try:
                await super().handle(scope, receive, send)
            finally:
                _stream.reset(told)
            return
        if not _DOORS.match(scope["path"]) or scope["method"] != "POST":
            await super().handle(scope, receive, send)
            return
        async with self._turns:
            buffer = self._buffers.pop() if self._buffers else bytearray(_BODY_BYTES)
            token = _buffer.set(buffer)
            try:
                await super().handle(scope, receive, send)
            finally:
                _buffer.reset(token)
                self._buffers.append(buffer)

    async def read_body(self, receive: Any) -> Any:
        """Return the body as a file; what goes over the buffer is received and cut off.

        Raises:
            RequestAborted: the client went away.
        """
        if stream := _stream.get():
            return stream
        buffer = _buffer.get()
        if buffer is None:
            return await super().read_body(receive)
        num_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            piece = message.get("body", b"")
            kept = piece[: len(buffer) - num_bytes]
            buffer[num_bytes : num_bytes + len(kept)] = kept
            num_bytes += len(kept)
            if not message.get("more_body", False):
                return BodyView(memoryview(buffer)[:num_bytes]) if num_bytes else BytesIO()

    async def listen_for_disconnect(self, receive: Any) -> None:
        """Watch for a client that goes; of a body that streams, whoever reads it will see that."""
        if _stream.get():
            await asyncio.Event().wait()  # ends when the answer is sent: Django cancels it
        await super().listen_for_disconnect(receive)
