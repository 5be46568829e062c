"""What a node makes of what listens where a machine's Jupyter should."""

import asyncio
import json

import httpx
import pytest

from workers.machines.kernels import is_kernel_busy


async def ask(answer: bytes, *, hang: bool = False) -> bool | None:
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if hang:
            await asyncio.sleep(30)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return await is_kernel_busy(http, "127.0.0.1", port)
        finally:
            server.close()


def say(body: object, status: str = "200 OK", head: str = "") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(text)}\r\n\r\n".encode() + text


@pytest.mark.parametrize(
    ("answer", "is_busy"),
    [
        (say([{"execution_state": "idle"}, {"execution_state": "busy"}]), True),
        (say([{"execution_state": "idle"}]), False),
        (say([]), False),
        (say({"message": "not a list"}), False),
        (say(["busy", 7, None]), False),
        (say(b"<html>"), False),
        (say(b"[" * 200_000), False),
        (say(b"[" + b" " * 600_000 + b"]"), None),
        (say(b"", "404 Not Found"), False),
        (say(b"", "302 Found", "Location: http://169.254.169.254/\r\n"), False),
        (say(b"", "403 Forbidden"), None),
        (say(b"", "500 Broken"), None),
        (b"no HTTP at all\r\n\r\n", None),
    ],
)
def test_an_answer_is_taken_for_what_it_is(answer, is_busy):
    assert asyncio.run(ask(answer)) is is_busy


def test_who_never_ends_answering_is_not_waited_for():
    assert asyncio.run(ask(b"HTTP/1.1 200 OK\r\n\r\n[", hang=True)) is None


def test_where_nothing_listens_no_kernel_is_busy():
    async def live():
        async with httpx.AsyncClient(trust_env=False) as http:
            return await is_kernel_busy(http, "127.0.0.1", 1)

    assert asyncio.run(live()) is False
