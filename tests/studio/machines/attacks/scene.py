"""The real studio with the machines of two people who are strangers, and a program in each.

Whatever reaches the victim's program is kept: an attack that gets that far has succeeded, whether
or not its maker sees the answer.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest import mock

import uvicorn
from django.conf import settings
from django.core import signing
from django.test import Client
from django.utils import timezone

from studio.accounts.models import User
from studio.machines.machine_tokens import make_machine_token
from studio.machines.models import Machine, NodeEngine
from studio.machines.web import access, passes
from studio.machines.web.cookies import cookie_name
from studio.machines.web.origins import Origin
from tests.live import free_port
from tests.studio.asgi import make_token
from workers.machines.relay import Relay

_BACKEND = "django.contrib.auth.backends.ModelBackend"
SECRET = b"what only its owner may read"


@dataclass
class Program:
    """What runs in a machine: it keeps what it hears, and answers with what it has."""

    has: bytes
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request or socket."""
        self.heard.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": self.has})
            while (await receive())["type"] != "websocket.disconnect":
                continue
            return
        while (await receive()).get("more_body"):
            continue
        headers = [(b"content-type", b"text/plain"), (b"access-control-allow-origin", b"*")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/drip":
            while True:
                piece = {"type": "http.response.body", "body": b"more\n", "more_body": True}
                await send(piece)
                await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": self.has})


@dataclass
class Scene:
    """Alice's machine, Bob's, and Bob, who tries."""

    alice: User
    bob: User
    victim: Machine
    rogue: Machine
    other: Machine
    """Another machine of Alice's."""
    node: Any
    studio: int
    port: int
    """At which a program listens in each machine."""
    relay: int
    hers: Program
    his: Program
    words: dict[str, str] = field(default_factory=dict)
    olga: User | None = None
    browsers: dict[str, Client] = field(default_factory=dict)

    def calm(self) -> None:
        """Forget what was heard, and what was looked up."""
        self.hers.heard.clear()
        self.his.heard.clear()
        access.forget_looks()

    def browser(self, who: str) -> Client:
        """Return a person's browser at the portal; nobody's where `who` is blank."""
        if who not in self.browsers:
            self.browsers[who] = Client()
            if who:
                self.browsers[who].force_login(getattr(self, who), backend=_BACKEND)
        return self.browsers[who]

    def host(self, machine: Machine, port: int | None = None) -> str:
        return f"{port or self.port}-{machine.key}.localhost:8600"

    def cookie(self, user: User, machine: Machine, port: int | None = None) -> str:
        return passes.make_cookie(user, Origin(machine.key, port or self.port))

    def raw(self, said: bytes, *, wait_s: float = 10.0, is_over: bool = False) -> bytes:
        """Send bytes to the studio as they are, and return what it answers until it is silent."""
        with socket.create_connection(("127.0.0.1", self.studio), 10) as opened:
            opened.sendall(said)
            if is_over:
                opened.shutdown(socket.SHUT_WR)
            opened.settimeout(wait_s)
            answer = b""
            try:
                while piece := opened.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return answer

    def ask(self, *lines: str, target: str = "/", method: str = "GET", body: str = "") -> bytes:
        """Send a request of these header lines, in which the scene's words are filled in."""
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "Connection: close", "", body])
        for word, value in self.words.items():
            head = head.replace("{" + word + "}", value)
        return self.raw(head.encode("latin-1"))

    def reached(self, answer: bytes = b"") -> str:
        """Say what an attempt on Alice's machine got: blank is nothing."""
        heard = [(each.get("method"), each["path"]) for each in self.hers.heard]
        return f"heard {heard}, told {answer[:80]!r}" if heard or SECRET in answer else ""


@contextmanager
def play(alice: User, bob: User, machines: list[Machine], node: Any) -> Iterator[Scene]:
    """Run the studio and the programs; `machines` are Alice's, Bob's and another of Alice's."""
    from studio.asgi import application

    hers, his = Program(SECRET), Program(b"his own")
    port, studio = free_port(), free_port()
    where = {machines[0].key: "127.0.0.1", machines[1].key: "127.0.0.2"}
    with (
        run_app_at(hers, "127.0.0.1", port),
        run_app_at(his, "127.0.0.2", port),
        run_relay(node.token_hash, where) as relay,
        run_app_at(application, "127.0.0.1", studio),
    ):
        NodeEngine.objects.update(relay_port=relay, relay_host="127.0.0.1")
        scene = Scene(alice, bob, *machines, node, studio, port, relay, hers, his)
        scene.words = make_words(scene)
        yield scene


def make_words(scene: Scene) -> dict[str, str]:
    """Return what headers of attacks are made of."""
    browser = Client()
    browser.force_login(scene.alice, backend=_BACKEND)
    hers = scene.cookie(scene.alice, scene.victim)
    now = timezone.now()
    return {
        "victim": scene.host(scene.victim),
        "rogue": scene.host(scene.rogue),
        "key": scene.victim.key,
        "port": str(scene.port),
        "cookie": cookie_name(),
        "hers": hers,
        "his": scene.cookie(scene.bob, scene.rogue),
        "his_at_hers": scene.cookie(scene.bob, scene.victim),
        "hers_elsewhere": scene.cookie(scene.alice, scene.other),
        "hers_at_another_port": scene.cookie(scene.alice, scene.victim, 8080),
        "cut": hers[:-1],
        "of_another_salt": signing.dumps(
            {"u": scene.alice.pk, "h": "", "k": scene.victim.key, "p": scene.port}
        ),
        "old": make_old(scene),
        "session": browser.cookies[settings.SESSION_COOKIE_NAME].value,
        "token": make_token(scene.alice),
        "machine_token": make_machine_token(scene.victim),
        "his_machine_token": make_machine_token(scene.rogue),
        "later": (now + timedelta(hours=1)).isoformat(),
    }


def make_old(scene: Scene) -> str:
    """Return a cookie of Alice's that was made a day ago."""
    then = timezone.now().timestamp() - 86400
    with mock.patch("django.core.signing.time.time", return_value=then):
        return scene.cookie(scene.alice, scene.victim)


@contextmanager
def run_app_at(app: Any, host: str, port: int) -> Iterator[None]:
    """Serve an application at an address of this machine's loopback, as `studio.up.web` does."""
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1,
        proxy_headers=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the program did not start"
        threading.Event().wait(0.01)
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)


@contextmanager
def run_relay(key: str, where: dict[str, str]) -> Iterator[int]:
    """Run a node's relay on a thread of its own."""
    ready, stop, found = threading.Event(), threading.Event(), []

    async def live() -> None:
        relay = Relay(key, where.get)
        found.append(await relay.open("127.0.0.1", 0))
        ready.set()
        await asyncio.to_thread(stop.wait)
        await relay.close()

    thread = threading.Thread(target=asyncio.run, args=[live()], daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join(20)


def headers_of(scope: dict[str, Any]) -> str:
    """Return the headers that a program heard, as one text."""
    return json.dumps([(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]])
