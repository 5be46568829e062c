"""Attempts on a machine's origin: host names, cookies, passes, other sites' pages, sockets."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urljoin, urlsplit

from django.conf import settings
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from studio.machines.web.passes import ENTER_PATH, enter_url
from tests.studio.machines.attacks.rows import Attack
from tests.studio.machines.attacks.scene import Scene, headers_of

_HIS = "Cookie: {cookie}={his}"
_HERS = "Cookie: {cookie}={hers}"


def asks(name: str, *lines: str, **options: str) -> Attack:
    """Make a row of one request, which has succeeded where it came to Alice's program."""

    def attempt(scene: Scene) -> str:
        return scene.reached(scene.ask(*lines, **options))

    return Attack(name, attempt)


HOSTS = [
    asks("host-without-cookie", "Host: {victim}"),
    asks("host-with-cookie-of-his-machine", "Host: {victim}", _HIS),
    asks("host-in-capitals", "Host: {port}-{key}.LOCALHOST", _HIS),
    asks("host-with-a-dot", "Host: {port}-{key}.localhost.", _HIS),
    asks("host-with-another-port", "Host: {port}-{key}.localhost:1", _HIS),
    asks("host-with-a-bad-port", "Host: {port}-{key}.localhost:99999999", _HIS),
    asks("host-with-a-user", "Host: {rogue}@{victim}", _HIS),
    asks("host-with-a-slash", "Host: {rogue}/{victim}", _HIS),
    asks("host-twice-his-first", "Host: {rogue}", "Host: {victim}", _HIS),
    asks("host-twice-hers-first", "Host: {victim}", "Host: {rogue}", _HIS),
    asks("host-list", "Host: {rogue}, {victim}", _HIS),
    asks("host-folded", "Host: {rogue}\r\n {victim}", _HIS),
    asks("host-behind-a-space", "Host: {rogue} {victim}", _HIS),
    asks("host-with-nul", "Host: {victim}\x00{rogue}", _HIS),
    asks("host-in-the-target", "Host: {rogue}", _HIS, target="http://{victim}/"),
    asks("host-forwarded", "Host: {rogue}", "X-Forwarded-Host: {victim}", _HIS),
    asks("host-forwarded-by-rfc", "Host: {rogue}", "Forwarded: host={victim}", _HIS),
    asks("host-by-original-url", "Host: {rogue}", "X-Original-URL: http://{victim}/", _HIS),
    asks("host-by-rewrite", "Host: {rogue}", "X-Rewrite-URL: http://{victim}/", _HIS),
    asks("host-with-zeros", "Host: 0{port}-{key}.localhost", _HIS),
    asks("host-below-another-domain", "Host: {port}-{key}.localhost.evil.test", _HIS),
    asks("host-missing", _HIS, target="http://{victim}/"),
    asks("port-of-ssh", "Host: 22-{key}.localhost", "Cookie: {cookie}={his_at_hers}"),
]

COOKIES = [
    asks("cookie-of-who-may-not", "Host: {victim}", "Cookie: {cookie}={his_at_hers}"),
    asks("cookie-of-another-machine", "Host: {victim}", "Cookie: {cookie}={hers_elsewhere}"),
    asks("cookie-of-another-port", "Host: {victim}", "Cookie: {cookie}={hers_at_another_port}"),
    asks("cookie-forged", "Host: {victim}", "Cookie: {cookie}=e30:1:x"),
    asks("cookie-of-another-salt", "Host: {victim}", "Cookie: {cookie}={of_another_salt}"),
    asks("cookie-cut", "Host: {victim}", "Cookie: {cookie}={cut}"),
    asks("cookie-of-yesterday", "Host: {victim}", "Cookie: {cookie}={old}"),
    asks("cookie-of-the-portal", "Host: {victim}", "Cookie: athanor_session={session}"),
    asks("session-as-cookie", "Host: {victim}", "Cookie: {cookie}={session}"),
    asks("cookie-tossed-before", "Host: {victim}", "Cookie: {cookie}={his}; {cookie}=x"),
    asks("personal-token", "Host: {victim}", "Authorization: Bearer {token}"),
    asks("machine-token", "Host: {victim}", "Authorization: Bearer {machine_token}"),
    asks("token-as-cookie", "Host: {victim}", "Cookie: {cookie}={machine_token}"),
    asks("proxy-authorization", "Host: {victim}", "Proxy-Authorization: Bearer {token}"),
]

_PAGE = "http://{rogue}"
SITES = [
    asks("get-same-site", "Host: {victim}", _HERS, "Sec-Fetch-Site: same-site"),
    asks("get-cross-site", "Host: {victim}", _HERS, "Sec-Fetch-Site: cross-site"),
    asks("image", "Host: {victim}", _HERS, "Sec-Fetch-Site: same-site",
         "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
    asks("frame", "Host: {victim}", _HERS, "Sec-Fetch-Site: same-site",
         "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
    asks("embed", "Host: {victim}", _HERS, "Sec-Fetch-Site: same-site",
         "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: embed"),
    asks("form", "Host: {victim}", _HERS, "Sec-Fetch-Site: same-site", "Content-Length: 0",
         "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", method="POST"),
    asks("post-of-his-page", "Host: {victim}", _HERS, f"Origin: {_PAGE}", "Content-Length: 0",
         method="POST"),
    asks("get-of-his-page", "Host: {victim}", _HERS, f"Origin: {_PAGE}"),
    asks("post-of-nowhere", "Host: {victim}", _HERS, "Origin: null", "Content-Length: 0",
         method="POST"),
    asks("post-of-a-longer-name", "Host: {victim}", _HERS, "Content-Length: 0",
         "Origin: http://{victim}.evil.test", method="POST"),
    asks("post-of-her-other-port", "Host: {victim}", _HERS, "Content-Length: 0",
         "Origin: http://8080-{key}.localhost:8600", method="POST"),
    asks("post-of-the-portal", "Host: {victim}", _HERS, "Content-Length: 0",
         "Origin: http://127.0.0.1:8600", method="POST"),
    asks("delete-of-his-page", "Host: {victim}", _HERS, f"Origin: {_PAGE}", method="DELETE"),
    asks("override-of-a-method", "Host: {victim}", _HERS, f"Origin: {_PAGE}",
         "X-HTTP-Method-Override: GET", "Content-Length: 0", method="POST"),
    asks("preflight", "Host: {victim}", _HERS, f"Origin: {_PAGE}", method="OPTIONS"),
]  # fmt: skip


def spends(name: str, use: Callable[[Scene], list[bytes]], *, most: int = 0) -> Attack:
    """Make a row that spends passes: it has succeeded where more than `most` cookies came."""

    def attempt(scene: Scene) -> str:
        cookies = [each for each in use(scene) if b"set-cookie" in each.lower()]
        return f"{len(cookies)} cookies" if len(cookies) > most else ""

    return Attack(name, attempt)


def spend(scene: Scene, query: str, host: str = "{victim}", *lines: str, **options: str) -> bytes:
    target = f"{ENTER_PATH}?{query}"
    return scene.ask(f"Host: {host}", *lines, target=target, **options)


def query_of(scene: Scene, user: str, machine: str, port: int | None = None) -> str:
    """Return the query of a good way in."""
    made = enter_url(
        user=getattr(scene, user), machine=getattr(scene, machine), port=port or scene.port
    )
    return urlsplit(made).query


def again(scene: Scene) -> list[bytes]:
    query = query_of(scene, "alice", "victim")
    return [spend(scene, query), spend(scene, query)]


def at_once(scene: Scene) -> list[bytes]:
    query = query_of(scene, "alice", "victim")
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: spend(scene, query), range(8)))


def of_a_disabled_person(scene: Scene) -> list[bytes]:
    query = query_of(scene, "alice", "victim")
    scene.alice.is_active = False
    scene.alice.save()
    try:
        return [spend(scene, query)]
    finally:
        scene.alice.is_active = True
        scene.alice.save()


def after_a_wrong_door(scene: Scene) -> list[bytes]:
    query = query_of(scene, "alice", "victim")
    spend(scene, query, "{rogue}")
    return [spend(scene, query)]


PASSES = [
    spends("pass-forged", lambda s: [spend(s, "pass=x")]),
    spends("pass-missing", lambda s: [spend(s, "path=/")]),
    spends("pass-twice", again, most=1),
    spends("pass-of-eight-at-once", at_once, most=1),
    spends("pass-of-his-machine", lambda s: [spend(s, query_of(s, "bob", "rogue"))]),
    spends("pass-of-another-port", lambda s: [spend(s, query_of(s, "alice", "victim", 8080))]),
    spends("pass-of-another-machine", lambda s: [spend(s, query_of(s, "alice", "other"))]),
    spends("pass-posted", lambda s: [
        spend(s, query_of(s, "alice", "victim"), "{victim}", "Content-Length: 0", method="POST")
    ]),
    spends("pass-of-the-disabled", of_a_disabled_person),
    spends("pass-spent-at-a-wrong-door", after_a_wrong_door),
    spends("pass-for-everything", lambda s: [spend(s, "pass=*")]),
    spends("pass-by-another-path", lambda s: [
        s.ask("Host: {victim}", target=f"/_athanor/x?{query_of(s, 'alice', 'victim')}")
    ]),
]  # fmt: skip


def leads(path: str) -> Attack:
    """Make a row of a way in that shall lead elsewhere."""

    def attempt(scene: Scene) -> str:
        query = urlencode({"path": path}) + "&" + query_of(scene, "alice", "victim")
        told = spend(scene, query).decode("latin-1")
        found = [line for line in told.splitlines() if line.lower().startswith("location:")]
        own = f"http://{scene.host(scene.victim)}"
        where = urlsplit(urljoin(own + ENTER_PATH, found[0].partition(":")[2].strip()))
        gone = where.netloc != urlsplit(own).netloc or where.scheme != "http"
        return told if gone or "x-evil" in told.lower() else ""

    return Attack(f"leads-to-{path!r}", attempt)


def sign_in_leads(target: str) -> Attack:
    """Make a row of a visit without a cookie that shall lead off the portal."""

    def attempt(scene: Scene) -> str:
        told = scene.ask("Host: {victim}", "Accept: text/html", target=target).decode("latin-1")
        found = [line for line in told.splitlines() if line.lower().startswith("location:")]
        where = found[0].partition(":")[2].strip() if found else ""
        return where if found and not where.startswith(settings.PUBLIC_URL + "/machines/") else ""

    return Attack(f"sign-in-leads-to-{target}", attempt)


WAYS = [
    *(leads(path) for path in (
        "//evil.test", "/\\evil.test", "http://evil.test", "javascript:alert(1)", "\\\\evil.test",
        "/\r\nX-Evil: 1", "/\t/evil.test", "///evil.test", " //evil.test", "@evil.test",
    )),
    sign_in_leads("//evil.test"),
    sign_in_leads("/@evil.test/%0d%0aX-Evil:1"),
    sign_in_leads("http://evil.test/"),
]  # fmt: skip


def opens(name: str, cookie: str, **headers: str) -> Attack:
    """Make a row of a WebSocket."""

    def attempt(scene: Scene) -> str:
        said = {"Cookie": "{cookie}={" + cookie + "}"} if cookie else {}
        said |= {key.replace("_", "-"): value for key, value in headers.items()}
        for word, value in scene.words.items():
            said = {k: v.replace("{" + word + "}", value) for k, v in said.items()}
        url = f"ws://{scene.host(scene.victim)}/socket"
        way = socket.create_connection(("127.0.0.1", scene.studio), 10)
        try:
            with connect(url, sock=way, additional_headers=said, proxy=None, close_timeout=1) as ws:
                return scene.reached(bytes(ws.recv(5)))
        except (WebSocketException, OSError, EOFError):
            return scene.reached()

    return Attack(name, attempt)


SOCKETS = [
    opens("socket-without-cookie", ""),
    opens("socket-of-who-may-not", "his_at_hers"),
    opens("socket-with-cookie-of-his-machine", "his"),
    opens("socket-of-his-page", "hers", Origin="http://{rogue}"),
    opens("socket-of-another-site", "hers", Origin="https://evil.test"),
    opens("socket-of-nowhere", "hers", Origin="null"),
    opens("socket-of-a-longer-name", "hers", Origin="http://{victim}.evil.test"),
    opens("socket-of-her-other-port", "hers", Origin="http://8080-{key}.localhost:8600"),
    opens("socket-of-the-portal", "hers", Origin="http://127.0.0.1:8600"),
    opens("socket-of-another-scheme", "hers", Origin="https://{victim}"),
]


def says(name: str, *lines: str, never: str) -> Attack:
    """Make a row of Alice's own request, whose program hears what it must `never`."""

    def attempt(scene: Scene) -> str:
        hers = _HERS if not any(line.startswith("Cookie: {cookie}") for line in lines) else ""
        scene.ask("Host: {victim}", *(line for line in (hers, *lines) if line))
        assert scene.hers.heard, f"{name}: nothing arrived, so nothing is shown"
        heard = headers_of(scene.hers.heard[-1])
        unwanted = never
        for word, value in scene.words.items():
            unwanted = unwanted.replace("{" + word + "}", value)
        return heard if unwanted in heard else ""

    return Attack(name, attempt)


INJECTED = [
    says("machine-cookie-passed-on", never="{hers}"),
    says("session-passed-on", "Cookie: athanor_session={session}", never="{session}"),
    says("session-in-capitals", "COOKIE: a=1; athanor_session={session}", never="{session}"),
    says("csrf-passed-on", "Cookie: csrftoken=kept-from-it", never="kept-from-it"),
    says("spaces-before-the-name", "Cookie: a=1;   athanor_session={session}", never="{session}"),
    says("forwarded-for", "X-Forwarded-For: 6.6.6.6", never="6.6.6.6"),
    says("forwarded-for-with-underscores", "X_Forwarded_For: 6.6.6.6", never="6.6.6.6"),
    says("forwarded-host", "X-Forwarded-Host: evil.test", never="evil.test"),
    says("forwarded-by-rfc", "Forwarded: for=6.6.6.6", never="6.6.6.6"),
    says("real-ip", "X-Real-IP: 6.6.6.6", never="6.6.6.6"),
    says("real-ip-with-underscores", "X_Real_IP: 6.6.6.6", never="6.6.6.6"),
    says("forwarded-proto-named-as-hop", "Connection: x-forwarded-for", "X-Forwarded-For: 6.6.6.6",
         never="6.6.6.6"),
    says("upgrade-to-h2c", "Upgrade: h2c", "HTTP2-Settings: x", "Connection: Upgrade",
         never="h2c"),
    says("proxy-password", "Proxy-Authorization: Basic kept-from-it", never="kept-from-it"),
]  # fmt: skip


TABLES = [HOSTS, COOKIES, SITES, PASSES, WAYS, SOCKETS, INJECTED]
