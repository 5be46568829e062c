"""Streams of a machine's program: of any size, at the pace of who is slower, until either ends."""

import asyncio
import functools
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.utils import timezone
from websockets.exceptions import ConnectionClosed

from studio.machines.models import Audience
from tests.studio.machines import test_web
from tests.studio.machines.house import PIECE, SENT

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.one_database,
]
PAGE = {"Accept": "text/html"}
# What systems and libraries keep on the way: sockets of four hops, and their readers.
MOST_KEPT = 96 * 2**20
house = test_web.house


async def settle() -> int:
    """Return how much was sent when for a second nothing more was."""
    sent, before = SENT[0], -1
    while sent != before or not sent:
        await asyncio.sleep(1)
        before, sent = sent, SENT[0]
        assert sent < MOST_KEPT
    return sent


async def test_a_program_waits_for_who_reads_nothing(house):
    SENT[0] = 0
    url = f"http://127.0.0.1:{house.ports.studio}/endless"
    headers = {"Host": house.host()} | house.cookie(house.owner)
    async with httpx.AsyncClient() as client, client.stream("GET", url, headers=headers) as answer:
        kept = await settle()
        async for _ in answer.aiter_bytes(PIECE):  # and goes on when they do
            if SENT[0] > kept + 4 * 2**20:
                break


async def test_a_socket_waits_for_who_reads_nothing(house):
    SENT[0] = 0
    # A megabyte of zeros is nothing compressed; who reads nothing does not see its end either.
    options = {"max_queue": 2, "compression": None, "close_timeout": 0.5}
    async with house.socket("/endless", user=house.owner, **options) as opened:
        await opened.recv()
        kept = await settle()
        while SENT[0] < kept + 4 * 2**20:
            await opened.recv()


async def test_a_sockets_pings_are_answered_and_its_frames_may_be_compressed(house):
    async with house.socket(user=house.owner, compression="deflate") as opened:
        await opened.recv()
        assert "permessage-deflate" in opened.response.headers["Sec-WebSocket-Extensions"]
        async with asyncio.timeout(20):
            await (await opened.ping())
            text = "开发机 " * 1_000_000
            await opened.send(text)
            assert await opened.recv() == text


class Ranged(http.server.SimpleHTTPRequestHandler):
    """A file server that knows of ranges."""

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        first, last = (int(end) for end in self.headers["Range"][6:].split("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])


def test_a_part_of_a_file_comes_alone(house, tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    handler = functools.partial(Ranged, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = {"Range": "bytes=1000-1003"}
        port = server.server_address[1]
        answer = house.ask("/file", user=house.owner, port=port, headers=asked)
        server.shutdown()
    assert (answer.status_code, answer.content) == (206, bytes([232, 233, 234, 235]))
    assert answer.headers["content-range"] == "bytes 1000-1003/256000"


@contextmanager
def listen_and(say: bytes) -> Iterator[int]:
    """Listen, answer each caller with some bytes at most, and hang up."""

    def serve(server: socket.socket) -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            with caller:
                caller.recv(65536)
                caller.sendall(say)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=[server], daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-"])
def test_what_hangs_up_or_speaks_no_http_is_said_in_a_page(house, said):
    with listen_and(said) as port:
        page = house.ask(user=house.owner, port=port, headers=PAGE)
        assert (page.status_code, "broke off its answer" in page.text) == (502, True)
        assert "中断了应答" in page.text
        told = house.ask(user=house.owner, port=port).json()
        assert told["code"] == "broken"


def test_an_answer_that_ends_before_its_length_is_cut_off(house):
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
    with listen_and(said) as port, pytest.raises(httpx.RemoteProtocolError):
        house.ask(user=house.owner, port=port)


async def test_what_is_open_ends_with_the_time_it_was_shared_until(house):
    until = timezone.now() + timedelta(seconds=3)
    share = functools.partial(test_web.publish, house, Audience.PUBLIC, until=until)
    await asyncio.to_thread(share)
    url, headers = f"http://127.0.0.1:{house.ports.studio}/drip", {"Host": house.host()}
    async with house.socket() as opened, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            async with asyncio.timeout(20), client.stream("GET", url, headers=headers) as answer:
                async for _ in answer.aiter_bytes():
                    pass
        assert timezone.now() >= until
        async with asyncio.timeout(20):
            with pytest.raises(ConnectionClosed):
                while True:
                    await opened.recv()
        assert opened.close_code == 1008
