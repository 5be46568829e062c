"""Machines' ports at numbers of the studio's own host, where one jar of cookies serves them all."""

import asyncio
import random
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from studio import env
from studio.core.errors import Unavailable
from studio.machines.models import Audience, Machine, NodeEngine, Status, StudioPort
from studio.machines.services import delete_machine, publish_port
from studio.machines.web import access
from studio.machines.web.numbers import RESTS_S, take_number
from studio.points.services import grant_points
from tests.studio.machines.conftest import make_running
from tests.studio.machines.house import run_house

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
PAGE = {"Accept": "text/html"}


@pytest.fixture
def numbers(settings) -> range:
    """Eight ports of this machine that are free."""
    # Below those that the system gives to whoever connects somewhere in between.
    while not all(map(_is_free, range(first := random.randrange(20_000, 32_000, 8), first + 8))):
        continue
    settings.MACHINES_PORTS, settings.MACHINES_DOMAIN = range(first, first + 8), ""
    settings.PUBLIC_URL = "http://127.0.0.1:8600"
    access.forget_looks()
    return settings.MACHINES_PORTS


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def machine(rich, node) -> Machine:
    return make_running(rich, node)


@pytest.fixture
def ports(numbers, machine, node):
    with run_house(machine.key, node.token_hash, numbers=numbers) as ports:
        NodeEngine.objects.update(relay_port=ports.relay, relay_host="127.0.0.1")
        yield ports


def give(person) -> None:
    grant_points(by=None, to=person, mpoints=1_000_000, note="", key=person.username)


def enter(api, person, machine: Machine, port: int) -> tuple[str, str]:
    """Open a port as its page does, and return the origin and the cookie that it sets."""
    body = {"port": port, "path": "/x?y"}
    url = api(person).post(f"/api/machines/{machine.key}/enter/", body, format="json").json()["url"]
    entered = httpx.get(url)
    assert (entered.status_code, entered.headers["location"]) == (303, "/x?y")
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", entered.headers["set-cookie"]


def test_a_port_opens_at_a_number_with_a_cookie_of_its_machine_alone(ports, numbers, machine, api):
    origin, cookie = enter(api, machine.owner, machine, ports.http)
    number = urlsplit(origin).port
    assert number in numbers
    name, said = cookie.split("=", 1)
    assert name == f"athanor_machine-{machine.key}"
    assert "HttpOnly" in said and "SameSite=Lax" in said and "Domain" not in said
    pair = cookie.partition(";")[0]
    ours = f"{pair}; athanor_session=s; csrftoken=c; athanor_machine-other=x; theme=dark"
    answer = httpx.get(f"{origin}/a?b", headers={"Cookie": ours})
    heard = dict(answer.json()["headers"])
    assert (heard["host"], heard["cookie"]) == (f"127.0.0.1:{number}", "theme=dark")
    assert enter(api, machine.owner, machine, ports.http)[0] == origin
    assert enter(api, machine.owner, machine, ports.sockets)[0] != origin
    # At any other port of the host the same cookie opens nothing.
    assert (
        httpx.get(f"http://127.0.0.1:{numbers[-1]}/", headers={"Cookie": pair}).status_code == 404
    )
    assert httpx.get(f"http://127.0.0.1:{ports.studio}/", headers={"Cookie": pair}).text == "studio"


def test_what_only_a_program_reads_stays_its_own_in_the_shared_jar(ports, machine, api):
    origin, cookie = enter(api, machine.owner, machine, ports.http)
    pair, jar = cookie.partition(";")[0], f"athanor.{machine.key}.{ports.http}."
    answer = httpx.get(f"{origin}/", headers={"Cookie": pair})
    assert answer.headers.get_list("set-cookie") == [
        "mine=1; Path=/",
        f"{jar}secret=2; HttpOnly; Path=/",
    ]
    sent = f"{pair}; {jar}secret=2; athanor.other.80.secret=theirs; mine=1"
    heard = dict(httpx.get(f"{origin}/", headers={"Cookie": sent}).json()["headers"])
    assert heard["cookie"] == "secret=2; mine=1"


FETCHES = [
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),  # a page without a referrer
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "http://127.0.0.1:8600"}, 403),
    ({"Origin": "http://127.0.0.1:{other}"}, 403),
    ({"Origin": "http://127.0.0.1:{own}"}, 200),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_at_another_port_of_the_host_has_no_use_of_the_cookie(
    ports, numbers, machine, api, method
):
    origin, cookie = enter(api, machine.owner, machine, ports.http)
    own = urlsplit(origin).port
    visit = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}
    frame, page = visit | {"Sec-Fetch-Dest": "iframe"}, visit | {"Sec-Fetch-Dest": "document"}
    cases = [*FETCHES, (frame, 403), (page, 200 if method == "GET" else 403)]
    for headers, status in cases:
        said = {name: value.format(own=own, other=numbers[-1]) for name, value in headers.items()}
        said["Cookie"] = cookie.partition(";")[0]
        assert httpx.request(method, f"{origin}/", headers=said).status_code == status, headers


def test_where_a_browser_tells_nothing_it_is_told_to_keep_others_out(ports, machine, api):
    origin, cookie = enter(api, machine.owner, machine, ports.http)
    private = httpx.get(f"{origin}/", headers={"Cookie": cookie.partition(";")[0]})
    assert private.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'self'" in private.headers["content-security-policy"]
    share(machine, ports.http)
    public = httpx.get(f"{origin}/")
    assert public.status_code == 200
    assert "cross-origin-resource-policy" not in public.headers


async def test_a_socket_opens_for_its_own_page_alone(ports, numbers, machine, rich, api):
    origin, cookie = await asyncio.to_thread(enter, api, rich, machine, ports.sockets)
    headers = {"Cookie": cookie.partition(";")[0] + "; athanor_session=s"}
    address = origin.replace("http", "ws", 1) + "/"
    async with connect(address, additional_headers=headers, origin=origin, proxy=None) as opened:
        assert "athanor" not in str(await opened.recv())
    for other in ("http://127.0.0.1:8600", f"http://127.0.0.1:{numbers[-1]}"):
        with pytest.raises(InvalidStatus):
            async with connect(address, additional_headers=headers, origin=other, proxy=None):
                pass
    with pytest.raises(InvalidStatus):  # a number that stands for nothing
        async with connect(f"ws://127.0.0.1:{numbers[-1]}/", proxy=None):
            pass


def test_the_studio_refuses_what_a_machines_page_sends_in_its_visitors_name(
    numbers, machine, settings
):
    client = Client(enforce_csrf_checks=True)
    client.force_login(machine.owner)
    client.get("/api/me/")
    client.cookies["csrftoken"] = "a" * 32  # a page of any port may read and write this one
    headers = {"X-CSRFToken": "a" * 32, "Host": "127.0.0.1:8600"}
    address, body = f"/api/machines/{machine.key}/stop/", {}
    for origin in (f"http://127.0.0.1:{numbers[0]}", "null", "http://127.0.0.1"):
        said = headers | {"Origin": origin}
        refused = client.post(address, body, content_type="application/json", headers=said)
        assert refused.status_code == 403, origin
        assert Machine.objects.get().status == Status.RUNNING
    said = headers | {"Origin": "http://127.0.0.1:8600"}
    done = client.post(address, body, content_type="application/json", headers=said)
    assert done.status_code == 200, done.content


def test_without_a_cookie_a_visitor_is_led_to_sign_in_and_a_program_is_told(ports, machine):
    number = take_number(machine, ports.http)
    led = httpx.get(f"http://127.0.0.1:{number}/lab?x=1", headers=PAGE)
    assert led.status_code == 303
    where = urlsplit(led.headers["location"])
    assert where.netloc == "127.0.0.1:8600" and where.path == "/machines/enter"
    assert parse_qs(where.query) == {
        "port": [str(ports.http)], "key": [machine.key], "path": ["/lab?x=1"]
    }  # fmt: skip
    assert httpx.get(f"http://127.0.0.1:{number}/").json()["code"] == "sign_in"


def test_the_api_says_addresses_that_open(numbers, machine, api):
    said = api(machine.owner).get(f"/api/machines/{machine.key}/").json()["tools"][0]
    assert said["url"] == f"http://127.0.0.1:8600/machines/enter?key={machine.key}&port=8080"
    assert StudioPort.objects.count() == 0  # looking takes none
    made = share(machine, 7860)
    port = api(machine.owner).get(f"/api/machines/{machine.key}/ports/").json()[0]
    assert port["url"] == f"http://127.0.0.1:{take_number(machine, 7860)}/"
    assert made.port == 7860


def share(machine: Machine, port: int):
    made = publish_port(
        by=machine.owner, machine=machine, port=port, audience=Audience.PUBLIC, until=None
    )
    access.forget_looks()
    return made


def rest(**which) -> None:
    long_ago = timezone.now() - timedelta(seconds=RESTS_S + 1)
    StudioPort.objects.filter(**which).update(used_at=long_ago)


def test_a_number_stays_with_its_port_and_a_person_has_a_quarter_of_them(numbers, machine):
    first, second = take_number(machine, 8080), take_number(machine, 8888)
    assert [take_number(machine, port) for port in (8888, 8080)] == [second, first]
    assert take_number(machine, 6006) == first  # of eight, two: their own goes
    assert take_number(machine, 8888) == second


def test_a_gone_machines_number_goes_to_the_same_persons_next(numbers, machine, rich, node):
    number = take_number(machine, 8080)
    delete_machine(by=rich, machine=machine)
    other = make_running(rich, node, "other")
    assert take_number(other, 9000) == number
    assert StudioPort.objects.get().turn == 1


@pytest.fixture
def crowd(numbers, node, bob, carol, olga, rich) -> list[Machine]:
    """Four people with two numbers each: the range is full."""
    node.cores = 64
    node.memory_bytes = 2**40
    node.save()
    machines = []
    for person in (rich, bob, carol, olga):
        if person != rich:
            give(person)
        machines.append(make_running(person, node))
        for port in (8080, 8888):
            take_number(machines[-1], port)
    return machines


def test_a_number_in_use_is_never_taken_from_another(crowd, adam, node):
    give(adam)
    mine = make_running(adam, node)
    before = list(StudioPort.objects.order_by("number").values("number", "machine", "port"))
    with pytest.raises(Unavailable, match="in use"):
        take_number(mine, 8080)
    assert list(StudioPort.objects.order_by("number").values("number", "machine", "port")) == before


def test_of_many_that_open_at_once_no_two_get_the_same(crowd):
    StudioPort.objects.all().delete()
    wanted = [(machine, port) for machine in crowd for port in (8080, 8888)]

    def take(what: tuple[Machine, int]) -> int | None:
        try:
            return take_number(*what)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(take, wanted * 2))
    assert taken[:8] == taken[8:]
    assert len(set(taken)) == 8


def test_what_rested_longest_goes_first_and_shared_ports_last(crowd, adam, node, api, numbers):
    give(adam)
    mine = make_running(adam, node)
    rest(machine=crowd[0])
    share(crowd[0], 8080)
    rest(machine=crowd[0])
    expected = StudioPort.objects.get(machine=crowd[0], port=8888).number
    assert take_number(mine, 8080) == expected
    held = StudioPort.objects.get(number=expected)
    assert (held.machine, held.port, held.turn) == (mine, 8080, 2)
    assert not StudioPort.objects.filter(machine=crowd[0], port=8888).exists()


def test_a_browser_forgets_what_another_persons_port_left(ports, machine, api):
    number = take_number(machine, ports.http)
    StudioPort.objects.update(turn=2)
    body = {"port": ports.http}
    address = f"/api/machines/{machine.key}/enter/"
    url = api(machine.owner).post(address, body, format="json").json()["url"]
    entered = httpx.get(url)
    assert entered.headers["clear-site-data"] == '"cache", "storage"'
    again = api(machine.owner).post(address, body, format="json").json()["url"]
    known = {"Cookie": entered.headers["set-cookie"].partition(";")[0]}
    assert "clear-site-data" not in httpx.get(again, headers=known).headers
    assert urlsplit(url).port == number


@pytest.mark.parametrize(
    "raw", ["20000", "a-b", "80-90", "20010-20000", "20000-70000", "1024-9999"]
)
def test_a_bad_range_is_refused_by_name(monkeypatch, raw):
    monkeypatch.setenv("STUDIO_MACHINES_PORTS", raw)
    with pytest.raises(ImproperlyConfigured, match="STUDIO_MACHINES_PORTS is .* write a range"):
        env.machine_addresses()


def test_names_and_numbers_are_not_both_taken(monkeypatch):
    monkeypatch.setenv("STUDIO_MACHINES_PORTS", "20000-20003")
    assert env.machine_addresses() == ("", range(20000, 20004))
    monkeypatch.setenv("STUDIO_MACHINES_DOMAIN", "dev.example.org")
    with pytest.raises(ImproperlyConfigured, match=re.escape("leave one of them out")):
        env.machine_addresses()
    monkeypatch.delenv("STUDIO_MACHINES_PORTS")
    assert env.machine_addresses() == ("dev.example.org", range(0))
    monkeypatch.setenv("STUDIO_MACHINES_DOMAIN", "")  # as compose.yaml says that none is set
    assert env.machine_addresses() == ("localhost", range(0))
