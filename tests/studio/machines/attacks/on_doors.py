"""Attempts at the API's doors, by people, by machines' tokens, by nodes, and by other sites."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from django.test import Client
from django.urls import get_resolver
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from studio.compute.services import make_node_token
from studio.machines.machine_tokens import make_machine_token
from studio.machines.models import Machine, PublishedPort
from tests.studio.machines.attacks.rows import Attack
from tests.studio.machines.attacks.scene import Scene

_ONE = "machines/<slug:key>/"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# What a body must hold, so that it is the person that is refused and not the body.
_BODIES = {
    ("POST", "extend/"): {"duration_s": 900}, ("POST", "enter/"): {"port": 8080},
    ("POST", "save/"): {"name": "stolen"}, ("POST", "clone/"): {"name": "stolen"},
    ("PATCH", ""): {"name": "stolen"}, ("PUT", "ports/8080/"): {"audience": "public"},
}  # fmt: skip
_OPERATORS_NEVER = [
    ("POST", "start/"), ("POST", "restart/"), ("POST", "extend/"), ("POST", "change/"),
    ("POST", "reset/"), ("POST", "enter/"), ("PATCH", ""), ("PUT", "ports/8080/"),
    ("DELETE", "ports/8080/"), ("POST", "save/"), ("POST", "clone/"),
]  # fmt: skip


def list_doors() -> list[str]:
    """Return the address of every door of one machine, whatever others are added to them."""
    found = []
    for pattern in get_resolver("studio.machines.urls").url_patterns:
        address = str(pattern.pattern)
        if address.startswith(_ONE):
            found.append(address.removeprefix(_ONE).replace("<int:port>", "8080"))
    return found


def call(browser: Client, method: str, door: str, key: str) -> tuple[int, str]:
    body = json.dumps(_BODIES.get((method, door), {}))
    address = f"/api/machines/{key}/{door}"
    told = browser.generic(method, address, body, content_type="application/json")
    return told.status_code, told.content.decode()


def knocks(method: str, door: str, who: str) -> Attack:
    """Make a row of a door of Alice's machine: it tells no more than that of one that is not."""

    def attempt(scene: Scene) -> str:
        browser = scene.browser("bob" if who == "stranger" else "")
        before = Machine.objects.filter(pk=scene.victim.pk).values().get()
        there = call(browser, method, door, scene.victim.key)
        nowhere = call(browser, method, door, "zzzzzzzzzzzz")
        after = Machine.objects.filter(pk=scene.victim.pk).values().get()
        is_alike = there == nowhere and there[0] >= 400
        return "" if is_alike and before == after else f"{there} and not {nowhere}"

    return Attack(f"{who}-{method}-{door}", attempt)


def operates(method: str, door: str) -> Attack:
    """Make a row of what an operator may not do: a role opens nobody's machine."""

    def attempt(scene: Scene) -> str:
        told = call(scene.browser("olga"), method, door, scene.victim.key)
        return "" if told[0] == 404 else str(told)

    return Attack(f"operator-{method}-{door}", attempt)


def by_name(name: str, who: str) -> Attack:
    """Make a row of a machine asked for by its name instead of its key."""

    def attempt(scene: Scene) -> str:
        told = call(scene.browser(who), "GET", "", name)
        return "" if told[0] == 404 else str(told)

    return Attack(f"{who}-by-the-name-{name}", attempt)


def people() -> Iterator[Attack]:
    for door in list_doors():
        for method in METHODS:
            yield knocks(method, door, "stranger")
            yield knocks(method, door, "nobody")


def bears(
    name: str, make: Callable[[Scene], str], method: str, address: str, wanted: int, /, **body: Any
) -> Attack:
    """Make a row of a token at a door that must answer `wanted`."""

    def attempt(scene: Scene) -> str:
        token = make(scene)
        where = address.format(key=scene.victim.key, other=scene.rogue.key, user=scene.alice.pk)
        told = Client().generic(
            method, where, json.dumps(body), content_type="application/json",
            HTTP_AUTHORIZATION=f"Bearer {token}",
        )  # fmt: skip
        return "" if told.status_code == wanted else f"{told.status_code} {told.content[:120]!r}"

    return Attack(name, attempt)


def his(scene: Scene) -> str:
    return make_machine_token(scene.rogue)


def stopped(scene: Scene) -> str:
    scene.other.refresh_from_db()
    token = make_machine_token(scene.other)
    Machine.objects.filter(pk=scene.other.pk).update(status="stopped")
    return token


def restarted(scene: Scene) -> str:
    token = make_machine_token(scene.rogue)
    Machine.objects.filter(pk=scene.rogue.pk).update(start=99)
    return token


def altered(scene: Scene) -> str:
    return make_machine_token(scene.rogue).replace(scene.rogue.pk.hex, scene.victim.pk.hex)


def a_nodes(scene: Scene) -> str:
    return make_node_token(name="n2")


TOKENS = [
    bears("machine-makes-a-token", his, "POST", "/api/tokens/", 403, name="t"),
    bears("machine-adds-a-key", his, "POST", "/api/ssh-keys/", 403, name="k", public_key="x"),
    bears("machine-generates-a-key", his, "POST", "/api/ssh-keys/generate/", 403, name="k"),
    bears("machine-sets-a-password", his, "POST", "/api/me/password/", 403, new="x" * 12),
    bears("machine-at-anothers-machine", his, "GET", "/api/machines/{key}/", 404),
    bears("machine-opens-anothers", his, "POST", "/api/machines/{key}/enter/", 404, port=8080),
    bears("machine-stops-anothers", his, "POST", "/api/machines/{key}/stop/", 404),
    bears("machine-deletes-anothers", his, "DELETE", "/api/machines/{key}/", 404),
    bears("machine-lists-everybodys", his, "GET", "/api/machines/?all=1", 404),
    bears("machine-at-a-nodes-door", his, "POST", "/api/internal/nodes/machines/", 401),
    bears("machine-as-a-node", his, "POST", "/api/internal/nodes/heartbeat/", 401),
    bears("machine-lists-people", his, "GET", "/api/users/", 404),
    bears("machine-disables-a-person", his, "PATCH", "/api/users/{user}/", 404, is_active=False),
    bears("machine-grants-points", his, "POST", "/api/points/grants/", 404, username="bob"),
    bears("machine-reads-the-drives-health", his, "GET", "/api/drive/health/", 404),
    bears("machine-raises-its-quota", his, "PUT", "/api/drive/quotas/bob/", 404, quota_bytes=9),
    bears("token-of-a-stopped-machine", stopped, "GET", "/api/me/", 401),
    bears("token-of-an-earlier-start", restarted, "GET", "/api/me/", 401),
    bears("token-altered-to-hers", altered, "GET", "/api/me/", 401),
    bears("token-without-a-signature", lambda s: f"mach_{s.victim.pk.hex}.1.1", "GET",
          "/api/me/", 401),
    bears("node-at-the-profile", a_nodes, "GET", "/api/me/", 401),
    bears("node-at-machines", a_nodes, "GET", "/api/machines/", 401),
    bears("node-at-a-drive", a_nodes, "GET", "/api/drive/list/?path=", 401),
    bears("node-stops-a-machine", a_nodes, "POST", "/api/machines/{key}/stop/", 401),
    bears("node-at-keys", a_nodes, "POST", "/api/ssh-keys/", 401),
    bears("person-at-a-nodes-door", lambda s: s.words["token"], "POST",
          "/api/internal/nodes/machines/", 401, engine="1", machines=[]),
]  # fmt: skip


def node_lies(name: str, use: Callable[[Scene, str], object]) -> Attack:
    """Make a row of a node that speaks of a machine that is another node's."""

    def attempt(scene: Scene) -> str:
        before = Machine.objects.filter(pk=scene.victim.pk).values().get()
        leaked = use(scene, make_node_token(name="n2"))
        after = Machine.objects.filter(pk=scene.victim.pk).values().get()
        scene.node.refresh_from_db()
        return "" if before == after and not leaked else f"{leaked} {after}"

    return Attack(name, attempt)


def report(scene: Scene, token: str, **changes: Any) -> str:
    """Report as a node; return what it heard of Alice's machine."""
    state = {"machine": scene.victim.key, "life": 1, "start": 1, "phase": "stopped"} | changes
    said = {"engine": "1", "machines": [state], "strays": [scene.victim.key]}
    told = Client().generic(
        "POST", "/api/internal/nodes/machines/", json.dumps(said),
        content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}",
    )  # fmt: skip
    return told.content.decode() if scene.victim.key in told.content.decode() else ""


NODES = [
    node_lies("node-ends-anothers-machine", report),
    node_lies("node-says-anothers-is-gone", lambda s, t: report(s, t, phase="absent")),
    node_lies("node-says-anothers-runs", lambda s, t: report(s, t, phase="running")),
    node_lies("node-hears-anothers-secrets", lambda s, t: report(s, t, phase="creating")),
]


def from_his_page(name: str, method: str, path: str, **headers: str) -> Attack:
    """Make a row of a page in Bob's machine that has Alice's browser ask the portal."""

    def attempt(scene: Scene) -> str:
        said = {"Host": "localhost:8600", "Origin": "http://{rogue}"} | {
            key.replace("_", "-"): value for key, value in headers.items()
        }
        cookies = f"athanor_session={scene.words['session']}; csrftoken={'a' * 32}"
        said = {"Cookie": cookies} | said
        for word, value in scene.words.items():
            said = {k: v.replace("{" + word + "}", value) for k, v in said.items()}
        before = Machine.objects.filter(pk=scene.victim.pk).values().get()
        url = f"http://127.0.0.1:{scene.studio}" + path.format(key=scene.victim.key)
        told = httpx.request(method, url, headers=said, content=b"{}", timeout=20)
        after = Machine.objects.filter(pk=scene.victim.pk).values().get()
        is_read = "access-control-allow-origin" in told.headers
        is_done = method not in {"GET", "OPTIONS"} and told.status_code < 400
        return (
            f"{told.status_code} {told.text[:90]}" if is_read or is_done or before != after else ""
        )

    return Attack(name, attempt)


_JSON, _PLAIN = "application/json", "text/plain"
_STOP = "/api/machines/{key}/stop/"
PORTAL = [
    from_his_page("portal-post", "POST", _STOP, Content_Type=_JSON),
    from_his_page("portal-post-with-its-own-token", "POST", _STOP, Content_Type=_JSON,
                  X_CSRFToken="a" * 32),
    from_his_page("portal-post-as-a-form", "POST", _STOP, Content_Type=_PLAIN,
                  X_CSRFToken="a" * 32),
    from_his_page("portal-post-of-nowhere", "POST", _STOP, Origin="null", X_CSRFToken="a" * 32),
    from_his_page("portal-post-of-her-machine", "POST", _STOP, Origin="http://{victim}",
                  X_CSRFToken="a" * 32),
    from_his_page("portal-post-by-another-host", "POST", _STOP, Origin="http://evil.test",
                  Host="evil.test", X_CSRFToken="a" * 32),
    from_his_page("portal-post-forwarded", "POST", _STOP, X_CSRFToken="a" * 32,
                  X_Forwarded_Host="{rogue}"),
    from_his_page("portal-delete", "DELETE", "/api/machines/{key}/", X_CSRFToken="a" * 32),
    from_his_page("portal-delete-by-override", "POST", "/api/machines/{key}/",
                  X_HTTP_Method_Override="DELETE", X_CSRFToken="a" * 32),
    from_his_page("portal-read", "GET", "/api/me/"),
    from_his_page("portal-preflight", "OPTIONS", _STOP, Access_Control_Request_Method="POST"),
    from_his_page("portal-with-her-machines-cookie", "POST", _STOP,
                  Cookie="athanor_session={hers}; csrftoken=" + "a" * 32, X_CSRFToken="a" * 32),
    from_his_page("portal-makes-a-token", "POST", "/api/tokens/", X_CSRFToken="a" * 32),
    from_his_page("portal-enters-for-him", "POST", "/api/machines/{key}/enter/",
                  Content_Type=_JSON),
]  # fmt: skip


def portal_socket(name: str, origin: str, path: str = "/ws/me/") -> Attack:
    """Make a row of a page that opens a WebSocket of the portal's with Alice's session."""

    def attempt(scene: Scene) -> str:
        said = origin
        for word, value in scene.words.items():
            said = said.replace("{" + word + "}", value)
        cookie = {"Cookie": f"athanor_session={scene.words['session']}"}
        url = f"ws://127.0.0.1:{scene.studio}" + path.format(key=scene.victim.key)
        try:
            with connect(url, additional_headers=cookie | {"Origin": said}, proxy=None):
                return "it opened"
        except (WebSocketException, OSError):
            return ""

    return Attack(name, attempt)


_TERMINAL = "/ws/machines/{key}/terminal/"
SOCKETS = [
    portal_socket("portal-socket-of-his-page", "http://{rogue}"),
    portal_socket("portal-socket-of-her-machine", "http://{victim}"),
    portal_socket("portal-socket-of-nowhere", "null"),
    portal_socket("portal-socket-of-another-port", "http://127.0.0.1:1"),
    portal_socket("terminal-of-his-page", "http://{rogue}", _TERMINAL),
    portal_socket("terminal-of-her-machine", "http://{victim}", _TERMINAL),
    portal_socket("terminal-of-nowhere", "null", _TERMINAL),
]


def publishes(name: str, audience: str, **changes: Any) -> Attack:
    """Make a row of a published port that is not for Bob."""

    def attempt(scene: Scene) -> str:
        PublishedPort.objects.filter(machine=scene.victim).delete()
        PublishedPort.objects.create(
            machine=scene.victim, audience=audience, **{"port": scene.port} | changes
        )
        try:
            return scene.reached(
                scene.ask("Host: {victim}", "Cookie: {cookie}={his_at_hers}")
            ) or scene.reached(scene.ask("Host: {victim}"))
        finally:
            PublishedPort.objects.filter(machine=scene.victim).delete()

    return Attack(name, attempt)


PUBLISHED = [
    publishes("private-is-hers-alone", "private"),
    publishes("class-is-not-for-strangers", "class"),
    publishes("public-until-a-past-time", "public", until="2020-01-01T00:00:00Z"),
    publishes("class-until-a-past-time", "class", until="2020-01-01T00:00:00Z"),
    publishes("public-is-of-one-port", "public", port=9),
]

OPERATORS = [operates(*each) for each in _OPERATORS_NEVER]
NAMES = [by_name("box", "bob"), by_name("box", "olga"), by_name("rogue", "alice")]
