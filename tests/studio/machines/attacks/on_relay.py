"""Attempts at a node's relay, by somebody who has come into the nodes' private network."""

import hashlib
import socket
import time
from collections.abc import Callable
from unittest import mock

from tests.studio.machines.attacks.rows import Attack
from tests.studio.machines.attacks.scene import Scene
from workers.machines.orders import make_relay_pass


def connects(name: str, make: Callable[[Scene], str], *, target: str = "{key}:{port}") -> Attack:
    """Make a row of one connection whose headers `make` gives."""

    def attempt(scene: Scene) -> str:
        where = target.replace("{key}", scene.victim.key).replace("{port}", str(scene.port))
        return say(scene, where, make(scene))

    return Attack(name, attempt)


def say(scene: Scene, target: str, headers: str, method: str = "CONNECT") -> str:
    """Return the relay's answer where it lets one through."""
    with socket.create_connection(("127.0.0.1", scene.relay), 10) as opened:
        opened.settimeout(10)
        opened.sendall(f"{method} {target} HTTP/1.1\r\n{headers}\r\n".encode())
        answer = opened.recv(4096)
    return answer.decode() if b" 200 " in answer else ""


def give(given: str) -> str:
    return f"Proxy-Authorization: Athanor {given}\r\n"


def good(scene: Scene, target: str = "") -> str:
    return make_relay_pass(scene.node.token_hash, target or f"{scene.victim.key}:{scene.port}")


def at(scene: Scene, seconds: float) -> str:
    with mock.patch("workers.machines.orders.time.time", return_value=time.time() + seconds):
        return good(scene)


def replayed(scene: Scene) -> str:
    used = give(good(scene))
    assert say(scene, f"{scene.victim.key}:{scene.port}", used), "a good pass must open"
    return used


def of_another_node(scene: Scene) -> str:
    key = hashlib.sha256(b"n2").hexdigest()
    return give(make_relay_pass(key, f"{scene.victim.key}:{scene.port}"))


def to(target: str) -> Attack:
    """Make a row of a target that is no machine's, with a pass that was made for it."""
    return connects(f"relay-to-{target}", lambda s: give(good(s, target)), target=target)


RELAY = [
    connects("relay-without-a-pass", lambda s: ""),
    connects("relay-with-a-forged-pass", lambda s: give("1.2.3")),
    connects("relay-with-a-basic-password", lambda s: "Proxy-Authorization: Basic eA==\r\n"),
    connects("relay-with-a-stale-pass", lambda s: give(at(s, -61))),
    connects("relay-with-a-pass-of-tomorrow", lambda s: give(at(s, 61))),
    connects("relay-with-a-pass-for-his", lambda s: give(good(s, f"{s.rogue.key}:{s.port}"))),
    connects("relay-with-a-pass-for-another-port", lambda s: give(good(s, f"{s.victim.key}:22"))),
    connects("relay-with-a-pass-of-another-node", of_another_node),
    connects("relay-with-a-spent-pass", replayed),
    connects("relay-with-a-longer-stamp", lambda s: give("0" + good(s))),
    connects("relay-with-two-passes", lambda s: give("1.2.3") + give("4.5.6")),
    to("127.0.0.1:22"),
    to("localhost:22"),
    to("169.254.169.254:80"),
    to("10.213.0.1:80"),
    to("[::1]:22"),
    to("zzzzzzzzzzzz:80"),
    connects("relay-to-port-zero", lambda s: give(good(s, f"{s.victim.key}:0")), target="{key}:0"),
    connects("relay-to-a-port-beyond", lambda s: give(good(s, f"{s.victim.key}:70000")),
             target="{key}:70000"),
    connects("relay-to-an-address-behind-a-name", lambda s: give(good(s)),
             target="{key}:{port}@127.0.0.1:22"),
]  # fmt: skip
