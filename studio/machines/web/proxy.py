"""The studio as the way into machines' ports: HTTP and WebSockets, streamed both ways.

Nothing is kept of a body but the piece in hand; who is slow slows the other side. Access is asked
for each request, and again while an answer or a socket lasts.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import httpcore
from django.conf import settings

from studio.core.errors import Unavailable
from studio.core.threads import in_a_thread
from studio.machines.doors import NotListening
from studio.machines.moments import note_presence
from studio.machines.web.access import LOOKS_AGAIN_S, Look, Verdict, look
from studio.machines.web.cookies import cookie_name
from studio.machines.web.headers import (
    Headers,
    get_cookie,
    get_header,
    guard_answer,
    to_browser,
    to_machine,
)
from studio.machines.web.numbers import find_origin, was_anothers
from studio.machines.web.origins import Origin
from studio.machines.web.pages import Page, make_page, make_refusal
from studio.machines.web.passes import ENTER_PATH, clean_path, set_cookie, spend_pass
from studio.machines.web.sockets import serve_socket
from studio.machines.web.upstream import Upstream

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_OURS = "/_athanor/"


class MachineOrigins:
    """An ASGI application in front of another: machines' origins are its, all others go on."""

    def __init__(self, inner: Callable[..., Awaitable[Any]]) -> None:
        """Take what answers for the studio's own hosts."""
        self._inner = inner
        self._upstreams: dict[asyncio.AbstractEventLoop, Upstream] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or socket."""
        origin = None
        if scope["type"] in {"http", "websocket"}:
            origin = await find_origin(scope)
        if origin is None:
            await self._inner(scope, receive, send)
        elif not origin.key:
            await _refuse_unheld(origin, scope, receive, send)
        elif scope["type"] == "websocket":
            await serve_socket(origin, scope, receive, send)
        elif scope["path"].startswith(_OURS):
            await _answer(send, await _enter(origin, scope))
        else:
            await self._serve(origin, scope, receive, send)

    async def _serve(self, origin: Origin, scope: Scope, receive: Receive, send: Send) -> None:
        found = await look(origin, scope)
        is_visit = _is_visit(scope)
        if found.verdict is not Verdict.OPEN:
            path = _get_target(scope).decode("latin-1")
            await _answer(send, make_refusal(found.verdict, origin, path, is_visit=is_visit))
            return
        await note_presence(origin.key, "browser")
        relay = _Relay(origin, scope, receive, send)
        try:
            await relay.run(self._upstream, found)
        except (Unavailable, httpcore.NetworkError, httpcore.ProtocolError) as error:
            if relay.has_begun:  # the status is sent: only a cut tells that this is not all
                raise _CutOff from error
            what = "broken"
            if isinstance(error, Unavailable):
                what = "not_listening" if isinstance(error, NotListening) else "stopped"
            await _answer(send, make_page(what, origin, is_visit=is_visit))

    @property
    def _upstream(self) -> Upstream:
        loop = asyncio.get_running_loop()
        if loop not in self._upstreams:
            self._upstreams = {loop: Upstream()}
        return self._upstreams[loop]


class _CutOff(Exception):
    """The machine broke off in the middle of an answer: the server cuts the browser's too."""


class _Body:
    """A request's body as it comes, and the news that its sender has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_over = False

    async def pieces(self) -> AsyncIterator[bytes]:
        while not self._is_over:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._is_over = True
                raise _Gone
            self._is_over = not message.get("more_body", False)
            if piece := message.get("body", b""):
                yield piece

    async def wait_gone(self) -> None:
        """Return when the sender has gone. Only once the body has been read, or has none."""
        while (await self._receive())["type"] != "http.disconnect":
            continue


class _Gone(Exception):
    """The browser has left."""


class _Relay:
    """One request on its way, and its answer."""

    def __init__(self, origin: Origin, scope: Scope, receive: Receive, send: Send) -> None:
        self._origin, self._scope, self._send = origin, scope, send
        self._body = _Body(receive)
        self._is_sent = asyncio.Event()
        self.has_begun = False

    async def run(self, upstream: Upstream, found: Look) -> None:
        """Carry it until its end, the browser's going, or the end of its right to be here."""
        carry = asyncio.create_task(self._carry(upstream, found))
        others = [asyncio.create_task(self._until_gone()), asyncio.create_task(self._until_lost())]
        try:
            await asyncio.wait({carry, *others}, return_when=asyncio.FIRST_COMPLETED)
            if carry.done():
                with contextlib.suppress(_Gone):
                    carry.result()
            elif others[1].done() and self.has_begun:
                raise _CutOff
        finally:
            for task in (carry, *others):
                task.cancel()
            await asyncio.gather(carry, *others, return_exceptions=True)

    async def _carry(self, upstream: Upstream, found: Look) -> None:
        scope = self._scope
        headers = to_machine(
            self._origin, scope["headers"], client=_get_client(scope), scheme=_get_scheme()
        )
        sent = upstream.send(
            found,
            self._origin.port,
            method=scope["method"],
            target=_get_target(scope),
            headers=self._frame(headers),
            body=self._pieces() if self._has_body else None,
        )
        if not self._has_body:
            self._is_sent.set()
        async with sent as answer:
            self.has_begun = True
            said = to_browser(self._origin, answer.headers)
            said += guard_answer(scope["headers"], is_public=found.is_public)
            start = {"type": "http.response.start", "status": answer.status, "headers": said}
            await self._send(start)
            async for piece in answer.aiter_stream():
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._body.pieces():
            yield piece
        self._is_sent.set()

    async def _until_gone(self) -> None:
        await self._is_sent.wait()  # until then the body itself says that its sender has gone
        await self._body.wait_gone()

    async def _until_lost(self) -> None:
        while True:
            await asyncio.sleep(LOOKS_AGAIN_S)
            if (await look(self._origin, self._scope)).verdict is not Verdict.OPEN:
                return
            await note_presence(self._origin.key, "browser")

    @property
    def _has_body(self) -> bool:
        names = {name.lower() for name, _ in self._scope["headers"]}
        return bool(names & {b"transfer-encoding", b"content-length"})

    def _frame(self, headers: Headers) -> Headers:
        """Say how a body of unknown length is sent: its own hop's word for that was dropped."""
        names = {name.lower() for name, _ in headers}
        if self._has_body and b"content-length" not in names:
            return [*headers, (b"transfer-encoding", b"chunked")]
        return headers


async def _enter(origin: Origin, scope: Scope) -> Page:
    """Spend a pass, set the cookie, and lead on to where its maker wanted."""
    if scope["path"] != ENTER_PATH or scope["method"] != "GET":
        return make_page("unknown", origin, is_visit=_is_visit(scope))
    query = parse_qs(scope["query_string"].decode("latin-1"))
    raw, path = query.get("pass", [""])[0], clean_path(query.get("path", ["/"])[0])
    entrant = await in_a_thread(spend_pass)(raw, origin)
    headers: Headers = [(b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]
    if entrant is None:  # spent, or too late: the page of the studio's makes another
        return make_refusal(Verdict.SIGN_IN, origin, path, is_visit=True)
    if origin.number is not None and not get_cookie(scope["headers"], cookie_name(origin.key)):
        headers += await _forget_the_last(origin.number)
    headers.append((b"set-cookie", set_cookie(entrant.user, origin, entrant.basis)))
    headers.append((b"location", path.encode("utf-8", "replace")))
    return 303, headers, b""


async def _forget_the_last(number: int) -> Headers:
    """Have the browser forget what another person's port left at this origin (Clear-Site-Data)."""
    if not await in_a_thread(was_anothers)(number):
        return []
    return [(b"clear-site-data", b'"cache", "storage"')]


async def _refuse_unheld(origin: Origin, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        await send({"type": "websocket.close", "code": 1008})
    else:
        await _answer(send, make_page("unknown", origin, is_visit=_is_visit(scope)))


async def _answer(send: Send, page: Page) -> None:
    status, headers, body = page
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _is_visit(scope: Scope) -> bool:
    accepts = get_header(scope["headers"], b"accept")
    return scope["method"] in {"GET", "HEAD"} and "text/html" in accepts


def _get_target(scope: Scope) -> bytes:
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    return bytes(path + b"?" + query if query else path)


def _get_client(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown", 0))[0])


def _get_scheme() -> str:
    return "https" if settings.PUBLIC_URL.startswith("https:") else "http"
