"""The browser's way into a machine: who may pass, and that what passes is what was sent."""

import asyncio
import hashlib
import json
import time
from datetime import timedelta

import httpx
import psutil
import pytest
from django.core.cache import cache
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from studio.accounts.models import Organization
from studio.accounts.organizations import create_organization, set_member
from studio.machines import moments, services
from studio.machines.models import Audience, NodeEngine
from studio.machines.web import access
from studio.machines.web.cookies import cookie_name
from studio.machines.web.origins import Origin
from studio.machines.web.passes import enter_url, make_cookie
from tests.studio.machines.conftest import make_running
from tests.studio.machines.house import NUM_PIECES, PIECE, run_house

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
PAGE = {"Accept": "text/html"}


class House:
    """A running machine of Alice's, with a program, behind the studio."""

    def __init__(self, machine, owner, ports) -> None:
        self.machine, self.owner, self.ports = machine, owner, ports

    def host(self, port: int | None = None) -> str:
        return f"{port or self.ports.http}-{self.machine.key}.localhost:8600"

    def cookie(self, user, port: int | None = None) -> dict[str, str]:
        made = make_cookie(user, Origin(self.machine.key, port or self.ports.http))
        return {"Cookie": f"other=1; {cookie_name()}={made}; athanor_session=s; csrftoken=c"}

    def ask(self, path="/", *, user=None, port=None, method="GET", **options) -> httpx.Response:
        headers = {"Host": self.host(port)} | options.pop("headers", {})
        headers |= self.cookie(user, port) if user else {}
        url = f"http://127.0.0.1:{self.ports.studio}{path}"
        return httpx.request(method, url, headers=headers, timeout=60, **options)

    def socket(self, path="/", *, user=None, origin=None, **options):
        port = self.ports.sockets
        headers = self.cookie(user, port) if user else {}
        return connect(
            f"ws://{self.host(port)}{path}",
            host="127.0.0.1",
            port=self.ports.studio,
            additional_headers=headers,
            origin=origin,
            proxy=None,
            max_size=None,
            open_timeout=20,
            **options,
        )


@pytest.fixture
def house(rich, node):
    machine = make_running(rich, node)
    with run_house(machine.key, node.token_hash) as ports:
        NodeEngine.objects.update(relay_port=ports.relay, relay_host="127.0.0.1")
        access.forget_looks()
        yield House(machine, rich, ports)


def publish(house: House, audience: Audience, *, until=None) -> None:
    for port in (house.ports.http, house.ports.sockets):
        services.publish_port(
            by=house.owner, machine=house.machine, port=port, audience=audience, until=until
        )
    access.forget_looks()


def test_what_is_asked_arrives_as_it_was_sent(house):
    answer = house.ask(
        "/a%2Fb/%E4%B8%AD?x=%20&x=2", user=house.owner, headers={"X-Forwarded-For": "6.6.6.6"}
    )
    said = answer.json()
    assert said["target"] == "/a%2Fb/%E4%B8%AD?x=%20&x=2"
    heard = [(name, value) for name, value in said["headers"]]
    assert ("host", house.host()) in heard
    assert ("cookie", "other=1") in heard and len([n for n, _ in heard if n == "cookie"]) == 1
    assert ("x-forwarded-for", "127.0.0.1") in heard
    assert "6.6.6.6" not in json.dumps(heard)
    assert ("x-forwarded-host", house.host()) in heard


def test_an_answer_comes_back_without_what_could_pass_for_ours(house):
    answer = house.ask(user=house.owner)
    assert answer.headers.get_list("x-own") == ["a", "b"]
    assert answer.headers.get_list("set-cookie") == ["mine=1; Path=/", "secret=2; HttpOnly; Path=/"]
    assert not {"x-hop", "x-accel-redirect", "clear-site-data"} & set(answer.headers)


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_any_status_is_the_programs_own(house, status):
    assert house.ask(f"/status/{status}", user=house.owner).status_code == status
    assert house.ask(f"/status/{status}", user=house.owner, method="HEAD").content == b""


def test_other_hosts_are_the_studios(house):
    for host in ("localhost:8600", "127.0.0.1", "x.localhost", f"a-{house.machine.key}.localhost"):
        assert house.ask(headers={"Host": host}).status_code == 299


def test_a_hundred_megabytes_each_way_in_constant_memory(house):
    sent = bytes(PIECE)

    def body():
        for _ in range(NUM_PIECES):
            yield sent

    before = psutil.Process().memory_info().rss
    answer = house.ask("/up", user=house.owner, method="POST", content=body())
    assert answer.json()["size"] == PIECE * NUM_PIECES
    assert answer.json()["sha256"] == hashlib.sha256(bytes(PIECE * NUM_PIECES)).hexdigest()
    size = 0
    url = f"http://127.0.0.1:{house.ports.studio}/large"
    headers = {"Host": house.host()} | house.cookie(house.owner)
    with httpx.stream("GET", url, headers=headers, timeout=60) as large:
        for piece in large.iter_bytes(PIECE):
            size += len(piece)
    assert size == PIECE * NUM_PIECES
    # The hash above took a copy of its own; what is asked is that neither way keeps all of it.
    assert psutil.Process().memory_info().rss - before < 160 * 2**20


def test_events_come_as_they_are_sent(house):
    begun = time.monotonic()
    url = f"http://127.0.0.1:{house.ports.studio}/drip"
    headers = {"Host": house.host()} | house.cookie(house.owner)
    with httpx.stream("GET", url, headers=headers, timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        assert time.monotonic() - begun < 10  # of the hundred seconds that all take
    assert house.ask(user=house.owner).status_code == 200  # who leaves harms nobody


def test_a_program_that_breaks_off_is_not_taken_for_its_end(house):
    with pytest.raises(httpx.RemoteProtocolError):
        house.ask("/broken", user=house.owner)


def test_what_does_not_answer_is_said_to_people_and_to_programs(house):
    page = house.ask(user=house.owner, port=1, headers=PAGE)
    assert (page.status_code, "refresh" in page.text) == (502, True)
    assert "开发机的该端口" in page.text
    told = house.ask(user=house.owner, port=1)
    assert (told.status_code, told.json()["code"]) == (502, "not_listening")
    services.stop_machine(by=house.owner, machine=house.machine)
    access.forget_looks()
    assert house.ask(user=house.owner).json()["code"] == "stopped"


def test_the_way_in_is_a_pass_spent_once(house):
    port = house.ports.http
    url = httpx.URL(
        enter_url(user=house.owner, machine=house.machine, port=port, path="/lab?reset")
    )
    entered = house.ask(url.raw_path.decode(), headers={"Host": url.netloc.decode()})
    assert (entered.status_code, entered.headers["location"]) == (303, "/lab?reset")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Domain" not in cookie
    inside = house.ask("/lab", headers={"Cookie": cookie.partition(";")[0]})
    assert inside.status_code == 200
    again = house.ask(url.raw_path.decode(), headers={"Host": url.netloc.decode()})
    assert again.status_code == 303
    assert again.headers["location"].startswith("http://127.0.0.1:8600/machines/enter?port=")
    assert house.ask("/_athanor/other", user=house.owner).status_code == 404


def test_without_a_cookie_a_page_leads_to_sign_in_and_a_program_hears_401(house):
    visit = house.ask("/lab?x=1", headers=PAGE)
    assert visit.status_code == 303
    assert visit.headers["location"].endswith("&path=%2Flab%3Fx%3D1")
    assert house.ask("/lab").status_code == 401
    unknown = f"{house.ports.http}-zzzzzzzzzzzz.localhost"
    assert house.ask(headers={"Host": unknown}).status_code == 401  # told alike
    forged = {"Cookie": f"{cookie_name()}=x.y.z"}
    assert house.ask(headers=forged).status_code == 401


def test_who_may_and_who_may_not(house, bob, carol, olga):
    create_organization(by=olga, name="course")
    course = Organization.objects.get(name="course")
    for person in (house.owner, bob):
        set_member(by=olga, organization=course, username=person.username, role="member")
    people = {"owner": house.owner, "mate": bob, "stranger": carol, "nobody": None}

    def who() -> dict[str, int]:
        access.forget_looks()
        return {name: house.ask(user=person).status_code for name, person in people.items()}

    assert who() == {"owner": 200, "mate": 404, "stranger": 404, "nobody": 401}
    publish(house, Audience.CLASS)
    assert who() == {"owner": 200, "mate": 200, "stranger": 404, "nobody": 401}
    publish(house, Audience.PUBLIC)
    assert set(who().values()) == {200}
    publish(house, Audience.PUBLIC, until=timezone.now() + timedelta(seconds=0.3))
    time.sleep(0.5)
    assert who() == {"owner": 200, "mate": 404, "stranger": 404, "nobody": 401}
    publish(house, Audience.PRIVATE)
    assert who() == {"owner": 200, "mate": 404, "stranger": 404, "nobody": 401}
    house.owner.set_password("another-password-1")
    cookie = house.cookie(house.owner)
    house.owner.save()
    access.forget_looks()
    assert house.ask(headers=cookie).status_code == 200  # made with the new one
    house.owner.is_active = False
    house.owner.save()
    access.forget_looks()
    assert house.ask(headers=cookie).status_code == 401


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_another_sites_page_has_no_use_of_the_cookie(house, site):
    fetch = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}
    assert house.ask(user=house.owner, headers=fetch).status_code == 403
    form = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert house.ask(user=house.owner, headers=form, method="POST").status_code == 403
    assert house.ask(user=house.owner, headers=form).status_code == 200  # a link that one follows
    frame = form | {"Sec-Fetch-Dest": "iframe"}
    assert house.ask(user=house.owner, headers=frame).status_code == 403
    other = {"Origin": "http://8080-otherotherot.localhost:8600"}
    assert house.ask(user=house.owner, headers=other, method="POST").status_code == 403
    publish(house, Audience.PUBLIC)
    assert house.ask(user=house.owner, headers=fetch).status_code == 200


async def test_a_socket_carries_messages_of_any_size_and_closes_as_it_was_closed(house):
    own = f"http://{house.host(house.ports.sockets)}"
    async with house.socket(
        "/api/kernels?x=1", user=house.owner, origin=own, subprotocols=["v1.kernel"]
    ) as socket:
        heard = json.loads(await socket.recv())
        assert heard["path"] == "/api/kernels?x=1"
        assert heard["headers"]["cookie"] == "other=1"
        assert heard["headers"]["origin"] == own
        assert socket.subprotocol == "v1.kernel"
        for message in ("text", b"\x00\xff" * 1_000_000, ""):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4242, "as you wish")


async def test_a_socket_is_refused_to_strangers_and_to_other_sites(house, bob):
    for user, origin in [
        (None, None),
        (bob, None),
        (house.owner, "http://evil.test"),
        (house.owner, "http://8080-otherotherot.localhost:8600"),
    ]:
        with pytest.raises(InvalidStatus) as refused:
            async with house.socket(user=user, origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_an_open_socket_ends_within_seconds_when_its_right_does(house, bob):
    await asyncio.to_thread(publish, house, Audience.PUBLIC)
    async with house.socket() as socket:
        await socket.recv()
        await asyncio.to_thread(publish, house, Audience.PRIVATE)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await socket.recv()
        assert closed.value.rcvd.code == 1008


def test_who_asks_and_who_holds_a_socket_is_there(house):
    key = house.machine.key
    moments.forget_notes()
    house.ask("/", user=None)
    assert moments.read_presence([key]) == {}, "who is not let in is not there"
    house.ask("/", user=house.owner)
    assert moments.read_presence([key])[key]["browser"] > time.time() - 20

    async def hold() -> None:
        async with house.socket(user=house.owner) as socket:
            await socket.recv()
            cache.clear()
            moments.forget_notes()
            deadline = time.monotonic() + 20
            while not await asyncio.to_thread(moments.read_presence, [key]):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)

    asyncio.run(hold())
