"""Terminals of the browser, before a real sshd: bytes, sizes, ends, and whom they are not for."""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator

import asyncssh
import pytest
from asgiref.sync import sync_to_async

from studio.core.errors import Unavailable
from studio.machines import consumers, doors, terminals
from studio.machines.models import Machine
from studio.machines.services import stop_machine
from studio.machines.ssh import machine_side
from tests.studio.jobs.sockets import Socket
from tests.studio.machines.conftest import make_running
from tests.studio.machines.test_ssh import run_sshd

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.timeout(120),
]


class Terminal(Socket):
    """A page's terminal."""

    def __init__(self, user, key: str, query: str = "", *, is_browser: bool = True) -> None:
        super().__init__(user, f"/ws/machines/{key}/terminal/?{query}")
        self.scope["session"] = {} if is_browser else None
        self.heard = b""

    async def type(self, text: bytes) -> None:
        await self.send_input({"type": "websocket.receive", "bytes": text})

    async def say(self, **what) -> None:
        await self.send_input({"type": "websocket.receive", "text": json.dumps(what)})

    async def hear(self, wanted: bytes) -> bytes:
        """Return all that was said up to these bytes; what was shown is told as a page does."""
        while wanted not in self.heard:
            output = await self.receive_output(20)
            assert output["type"] == "websocket.send", (output, self.heard[-300:])
            if output.get("bytes"):
                self.heard += output["bytes"]
                await self.say(type="read", bytes=len(output["bytes"]))
        return self.heard

    async def receive(self, kind: str):
        while True:
            output = await self.receive_output(20)
            assert output["type"] == "websocket.send", output
            if output.get("bytes"):
                self.heard += output["bytes"]
            elif (message := json.loads(output["text"]))["type"] == kind:
                return message


@pytest.fixture
def machine(rich, node) -> Machine:
    return make_running(rich, node)


@pytest.fixture
def box(machine, tmp_path, monkeypatch):
    """The machine, with an sshd; its tmux has a folder of its own."""
    with run_sshd(tmp_path / "sshd") as port:

        async def open_socket(door: doors.Door, number: int):
            assert (door.machine_key, number) == (machine.key, 22)
            import socket

            opened = socket.socket()
            opened.setblocking(False)
            await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", port))
            return opened

        monkeypatch.setattr(machine_side, "open_socket", open_socket)
        set_up = f"export TMUX_TMPDIR={tmp_path}\n"
        for name in ("_LOOK", "_KEPT", "_KILL"):
            monkeypatch.setattr(terminals, name, set_up + getattr(terminals, name))
        yield machine
        subprocess.run(
            ["tmux", "kill-server"],
            env=os.environ | {"TMUX_TMPDIR": str(tmp_path)},
            capture_output=True,
            check=False,
        )


@pytest.fixture
def no_tmux(monkeypatch):
    monkeypatch.setattr(terminals, "_LOOK", "exit 0")


@contextlib.asynccontextmanager
async def opened(user, key: str, query: str = "columns=100&rows=30") -> AsyncIterator[Terminal]:
    terminal = Terminal(user, key, query)
    await terminal.connect()
    terminal.opened = await terminal.receive("opened")
    try:
        yield terminal
    finally:
        await terminal.disconnect()


async def test_a_shell_is_typed_into_and_knows_its_size_and_letters(rich, box, no_tmux):
    async with opened(rich, box.key) as terminal:
        assert not terminal.opened["is_kept"]
        await terminal.type(b"stty size; printf '\\xe4\\xbd\\xa0\\xff.%s\\n' $TERM\n")
        heard = await terminal.hear(b".xterm-256color")
        assert b"30 100" in heard
        assert "\u4f60".encode() + b"\xff.xterm-256color" in heard
        await terminal.say(type="size", columns=91, rows=17)
        await terminal.type(b"stty size\n")
        await terminal.hear(b"17 91")


async def test_what_is_typed_before_it_is_open_is_not_lost(rich, box, no_tmux):
    terminal = Terminal(rich, box.key)
    await terminal.connect()
    await terminal.type(b"echo ear''ly\n")
    await terminal.hear(b"early\r\n")
    await terminal.disconnect()


async def test_its_end_is_told_with_its_status(rich, box, no_tmux):
    terminal = Terminal(rich, box.key)
    await terminal.connect()
    await terminal.receive("opened")
    await terminal.type(b"exit 7\n")
    assert (await terminal.receive("ended"))["status"] == 7
    assert await terminal.receive_close() == consumers.OVER


async def test_a_page_that_shows_nothing_more_is_sent_nothing_more(rich, box, no_tmux):
    async with opened(rich, box.key) as terminal:
        await terminal.type(b"stty -onlcr; head -c 4000000 /dev/zero; echo al''l\n")
        num_sent = 0
        with contextlib.suppress(asyncio.TimeoutError):
            while True:
                async with asyncio.timeout(3):
                    output = await terminal.output_queue.get()
                num_sent += len(output.get("bytes") or b"")
        assert num_sent < 600_000
        await terminal.say(type="read", bytes=num_sent)
        await terminal.hear(b"all\n")
        assert terminal.heard.count(b"\0") + num_sent > 3_900_000


async def test_a_kept_shell_is_come_back_to_with_what_it_said(rich, box):
    async with opened(rich, box.key) as terminal:
        assert terminal.opened["is_kept"]
        await terminal.type(b"X=still-here; seq 200 260; echo rea''dy\n")
        await terminal.hear(b"ready")
    async with opened(rich, box.key) as terminal:
        assert terminal.opened["kept"] == ["web-1"]
        heard = await terminal.hear(b"ready")
        assert b"\n201\r" in heard or b"201" in heard
        await terminal.type(b"echo $X.\n")
        await terminal.hear(b"still-here.")
        async with opened(rich, box.key, "shell=web-2") as second:
            assert second.opened["shell"] == "web-2"
            await second.type(b"echo $X.\n")
            await second.hear(b".")
            await second.say(type="kill")
            await second.receive("ended")
    async with opened(rich, box.key) as terminal:
        assert terminal.opened["kept"] == ["web-1"]


async def test_nobody_else_gets_a_terminal(rich, bob, olga, box):
    for person, key in ((bob, box.key), (olga, box.key), (rich, "nosuchkey")):
        terminal = Terminal(person, key)
        await terminal.connect()
        assert await terminal.receive_close() == consumers.NOT_FOUND
    script = Terminal(rich, box.key, is_browser=False)
    await script.connect()
    assert await script.receive_close() == consumers.NOT_SIGNED_IN


async def test_who_is_disabled_or_whose_machine_stops_is_out_within_five_seconds(
    rich, box, no_tmux, monkeypatch
):
    for end, code in ((disable, consumers.NOT_SIGNED_IN), (stop, consumers.NOT_RUNNING)):
        terminal = Terminal(rich, box.key)
        await terminal.connect()
        await terminal.receive("opened")
        await sync_to_async(end)(rich, box)
        async with asyncio.timeout(5):
            assert await terminal.receive_close() == code
        await sync_to_async(enable)(rich)
    terminal = Terminal(rich, box.key)
    await terminal.connect()
    assert (await terminal.receive("away"))["code"] == "machine_not_running"
    assert await terminal.receive_close() == consumers.NOT_RUNNING


def disable(user, machine) -> None:
    type(user).objects.filter(pk=user.pk).update(is_active=False)


def enable(user) -> None:
    type(user).objects.filter(pk=user.pk).update(is_active=True)
    user.refresh_from_db()


def stop(user, machine) -> None:
    stop_machine(by=user, machine=machine)


async def test_a_silent_terminal_is_ended_after_a_long_time(rich, box, no_tmux, settings):
    settings.SSH_IDLE_S = 2
    terminal = Terminal(rich, box.key)
    await terminal.connect()
    assert await terminal.receive_close() == consumers.IDLE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("away", code="node_away"), "node_away"),
        (asyncssh.ConnectionLost("gone"), "sshd_away"),
    ],
)
async def test_a_machine_out_of_reach_is_said_and_come_again_to(
    rich, machine, monkeypatch, error, code
):
    async def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(consumers, "open_shell", fail)
    terminal = Terminal(rich, machine.key)
    await terminal.connect()
    assert (await terminal.receive("away"))["code"] == code
    assert await terminal.receive_close() == consumers.LOST
