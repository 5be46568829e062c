"""Receives large request bodies into memory that is used again.

Django collects a body in a temporary file that grows. For the doors that take 64 MiB at a time, and
verify them before anything is kept, that costs more than the verifying: see `bench/hub.py`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from io import BytesIO
from typing import Any

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler

_DOORS = re.compile(r"^/api/xet/[0-9a-f]{16}/v1/xorbs/")
_BODY_BYTES = 66 * 2**20
_MOST_AT_ONCE = 4  # more wait, unread, for their turn: memory is bounded
_buffer: ContextVar[bytearray | None] = ContextVar("buffer", default=None)
Receive = Callable[[], Awaitable[dict[str, Any]]]


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


class StudioHandler(ASGIHandler):
    """Django's handler, which receives the bodies of some doors into buffers of its own."""

    def __init__(self) -> None:
        """Begin without a buffer: each is made when first needed."""
        super().__init__()
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)
        self._buffers: list[bytearray] = []

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; where its body is large, when a buffer is free."""
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
