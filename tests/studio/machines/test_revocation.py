"""Who loses a right is let go within seconds: from streams and sockets that are open already."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from studio.accounts.models import PersonalToken, User
from studio.machines import services
from studio.machines.machine_tokens import make_machine_token
from studio.machines.models import Audience, Machine, PublishedPort, Status
from studio.machines.web import proxy, sockets
from studio.machines.web.access import LOOKS_AGAIN_S
from tests.studio.asgi import make_token
from tests.studio.machines.attacks.scene import Scene, play
from tests.studio.machines.conftest import make_running

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.timeout(180),
]
PROMISED_S = 5
MOST_LOOKS = 2
"""Of one stream's: what the first is told may be as old as a look is kept, the second's is not."""
PATIENCE_S = 30
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def scene(rich, bob, node) -> Iterator[Scene]:
    machines = [make_running(rich, node, name) for name in ("box", "b", "c")]
    with play(rich, bob, machines, node) as scene:
        yield scene


def sign_in(scene: Scene) -> Client:
    browser = Client()
    browser.force_login(scene.alice, backend=BACKEND)
    return browser


def come_in(scene: Scene, browser: Client, **headers: str) -> str:
    """Take the whole way from the portal to the machine's origin; return the cookie there."""
    made = browser.post(
        f"/api/machines/{scene.victim.key}/enter/", {"port": scene.port},
        content_type="application/json", **headers,
    )  # fmt: skip
    url = httpx.URL(made.json()["url"])
    entered = httpx.get(
        f"http://127.0.0.1:{scene.studio}{url.raw_path.decode()}",
        headers={"Host": url.netloc.decode()},
    )
    assert entered.status_code == 303, entered.text
    return entered.headers["set-cookie"].partition(";")[0]


def open_stream(scene: Scene, cookie: str, ended: threading.Event) -> None:
    """Begin to read a stream without end; say when it has ended all the same."""
    begun = threading.Event()

    def read() -> None:
        headers = {"Host": scene.host(scene.victim), "Cookie": cookie}
        url = f"http://127.0.0.1:{scene.studio}/drip"
        try:
            with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
                for _ in answer.iter_bytes():
                    begun.set()
        except httpx.HTTPError:
            pass
        finally:
            ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert begun.wait(20) and not ended.is_set()


def open_socket(scene: Scene, cookie: str) -> ClientConnection:
    host = scene.host(scene.victim)
    headers = {"Cookie": cookie} if cookie else {}
    way = socket.create_connection(("127.0.0.1", scene.studio), 10)
    opened = connect(
        f"ws://{host}/socket", sock=way, additional_headers=headers, origin=f"http://{host}",
        proxy=None, close_timeout=1,
    )  # fmt: skip
    assert opened.recv(20)
    return opened


@contextmanager
def count_looks(cookie: str) -> Iterator[Counter[str]]:
    """Count how often what comes with a cookie is looked at, streams and sockets apart."""
    seen: Counter[str] = Counter()

    def count(kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        async def look(origin: Any, scope: Any) -> Any:
            if cookie.encode() in dict(scope["headers"]).get(b"cookie", b""):
                seen[kind] += 1
            return await real(origin, scope)

        return look

    with (
        patch.object(proxy, "look", count("stream", proxy.look)),
        patch.object(sockets, "look", count("socket", sockets.look)),
    ):
        yield seen


@contextmanager
def both_end(scene: Scene, cookie: str) -> Iterator[None]:
    """Hold a stream and a socket open; in the block they lose their right, and then they end."""
    ended = threading.Event()
    with count_looks(cookie) as seen:
        open_stream(scene, cookie, ended)
        with closing(open_socket(scene, cookie)) as opened:
            yield
            before = Counter(seen)
            with pytest.raises(ConnectionClosed):
                while True:
                    opened.recv(PATIENCE_S)
            assert ended.wait(PATIENCE_S)
        assert sum(before.values()) >= 2  # both are looked at here
        assert all(seen[kind] - before[kind] <= MOST_LOOKS for kind in seen), (before, seen)
    assert scene.ask("Host: {victim}", f"Cookie: {cookie}").split()[1] != b"200"


def test_looks_are_often_enough_for_what_is_promised():
    assert MOST_LOOKS * LOOKS_AGAIN_S + 1 <= PROMISED_S


def test_a_sign_out_ends_what_it_had_opened_and_no_other_browser(scene):
    browser, other = sign_in(scene), sign_in(scene)
    stays = come_in(scene, other)
    cookie = come_in(scene, browser)
    with closing(open_socket(scene, stays)) as kept:
        with both_end(scene, cookie):
            gone = browser.delete("/_allauth/browser/v1/auth/session")
            assert gone.status_code == 401, gone.content  # allauth says: nobody is signed in now
        with pytest.raises(TimeoutError):
            kept.recv(0.1)
        scene.calm()
        assert b"only its owner" in scene.ask("Host: {victim}", f"Cookie: {stays}")


def test_a_revoked_token_ends_what_it_had_opened(scene):
    raw = make_token(scene.alice)
    cookie = come_in(scene, Client(), HTTP_AUTHORIZATION=f"Bearer {raw}")
    with both_end(scene, cookie):
        PersonalToken.objects.filter(user=scene.alice).order_by("-pk").first().delete()


def test_a_cookie_of_a_machines_token_ends_with_that_machine(scene):
    raw = make_machine_token(scene.other)
    cookie = come_in(scene, Client(), HTTP_AUTHORIZATION=f"Bearer {raw}")
    with both_end(scene, cookie):
        Machine.objects.filter(pk=scene.other.pk).update(status=Status.STOPPED)


def disable(scene: Scene) -> None:
    User.objects.filter(pk=scene.alice.pk).update(is_active=False)


def change_password(scene: Scene) -> None:
    scene.alice.set_password("another-password-1")
    scene.alice.save()


def end_sessions(scene: Scene) -> None:
    Session.objects.all().delete()


def stop(scene: Scene) -> None:
    services.stop_machine(by=scene.alice, machine=scene.victim)


def delete(scene: Scene) -> None:
    services.delete_machine(by=scene.alice, machine=scene.victim)


@pytest.mark.parametrize("deed", [disable, change_password, end_sessions, stop, delete])
def test_the_owner_is_let_go(scene, deed: Callable[[Scene], Any]):
    cookie = come_in(scene, sign_in(scene))
    with both_end(scene, cookie):
        deed(scene)


def test_visitors_of_a_published_port_are_let_go_when_it_closes(scene):
    def publish(audience: Audience) -> None:
        services.publish_port(
            by=scene.alice, machine=scene.victim, port=scene.port, audience=audience, until=None
        )

    publish(Audience.PUBLIC)
    with both_end(scene, ""):
        services.unpublish_port(by=scene.alice, machine=scene.victim, port=scene.port)
    publish(Audience.PUBLIC)
    scene.calm()
    with both_end(scene, ""):
        publish(Audience.PRIVATE)
    assert PublishedPort.objects.count() == 1
