"""The node's relay: who may pass, to what, and that bytes arrive as they were sent."""

import asyncio
import contextlib
import hashlib

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from workers.machines.door import door_url, needs_door
from workers.machines.orders import is_relay_pass, make_relay_pass
from workers.machines.relay import Relay

KEY = hashlib.sha256(b"node_x").hexdigest()
PAYLOAD = bytes(range(256)) * 8192  # 2 MiB


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()


@pytest.fixture
async def relay():
    """A relay that knows one machine, `box`, at this machine's loopback; its port and an echo's."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    relay = Relay(KEY, {"box": "127.0.0.1"}.get)
    port = await relay.open("127.0.0.1", 0)
    yield port, server.sockets[0].getsockname()[1]
    await relay.close()
    server.close()


async def ask(port: int, target: str, given: str, *, line: str = "CONNECT {} HTTP/1.1"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{line.format(target)}\r\nHost: x\r\nProxy-Authorization: Athanor {given}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    return int(answer.split()[1]), reader, writer


async def test_bytes_arrive_both_ways_and_each_end_is_passed_on(relay):
    port, inner = relay
    target = f"box:{inner}"
    status, reader, writer = await ask(port, target, make_relay_pass(KEY, target))
    assert status == 200

    async def send() -> None:
        writer.write(PAYLOAD)
        await writer.drain()
        writer.write_eof()

    async with asyncio.timeout(30):
        _, back = await asyncio.gather(send(), reader.read())
    assert back == PAYLOAD
    writer.close()


@pytest.mark.parametrize(
    ("target", "line", "status"),
    [
        ("other:80", "CONNECT {} HTTP/1.1", 404),
        ("box:1", "CONNECT {} HTTP/1.1", 502),
        ("127.0.0.1:80", "CONNECT {} HTTP/1.1", 400),
        ("box:70000", "CONNECT {} HTTP/1.1", 400),
        ("box:0", "CONNECT {} HTTP/1.1", 400),
        ("box:80", "GET http://{}/ HTTP/1.1", 400),
        ("../etc:80", "CONNECT {} HTTP/1.1", 400),
    ],
)
async def test_it_leads_to_machines_alone(relay, target, line, status):
    answered, _, writer = await ask(relay[0], target, make_relay_pass(KEY, target), line=line)
    assert answered == status
    writer.close()


async def test_a_pass_is_for_its_target_and_its_minute(relay):
    port, inner = relay
    target = f"box:{inner}"
    with time_machine.travel("2020-01-01"):
        old = make_relay_pass(KEY, target)
    for given_pass in (old, make_relay_pass("other", target), make_relay_pass(KEY, "box:22"), "."):
        status, _, writer = await ask(port, target, given_pass)
        assert status == 407
        writer.close()


async def test_who_says_nothing_or_too_much_is_let_go(relay, monkeypatch):
    monkeypatch.setattr("workers.machines.relay._HEAD_S", 0.2)
    for said in (b"", b"CONNECT " + b"x" * 20_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay[0])
        writer.write(said)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


@given(st.text(max_size=60))
def test_nothing_made_up_is_a_pass(text):
    assert not is_relay_pass(KEY, "box:80", text)


def test_only_a_studio_on_loopback_needs_a_door():
    assert door_url("http://127.0.0.1:8600") == "http://169.254.86.1:8600"
    assert door_url("http://localhost") == "http://169.254.86.1:80"
    assert door_url("https://studio.example.org") == "https://studio.example.org"
    assert not needs_door("http://10.0.0.5:8600")
