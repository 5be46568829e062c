"""The real nginx with the configuration that is shipped, before the studio and a machine."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from studio.machines.models import Audience, Machine, NodeEngine
from studio.machines.services import publish_port
from studio.machines.web import access
from studio.machines.web.numbers import take_number
from tests.live import ROOT, free_port, wait_for
from tests.studio.machines.conftest import make_running
from tests.studio.machines.house import BEGUN, Ports, run_house

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.one_database,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="no nginx: make provision"),
]
AROUND = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/conf.d/*.conf;
}}
"""


def write(folder: Path, name: str, changes: dict[str, str]) -> None:
    """Write a shipped file with the places that this machine has; each must be there."""
    said = (ROOT / "deploy" / name).read_text()
    for old, new in changes.items():
        assert old in said
        said = said.replace(old, new)
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / name).write_text(said)


def write_main(folder: Path, *, port: int, studio: int) -> None:
    (folder / "hub").mkdir(parents=True)
    (folder / "hub" / "secret").write_text("of another person")
    changes = {
        "listen 80 default_server": f"listen 127.0.0.2:{port} default_server",
        "listen 80;": f"listen 127.0.0.2:{port};",
        "http://web:8600": f"http://127.0.0.1:{studio}",
        "/data/hub/": f"{folder}/hub/",
    }
    write(folder, "nginx.conf", changes)


@contextmanager
def run_nginx(folder: Path, port: int) -> Iterator[None]:
    (folder / "main").write_text(AROUND.format(folder=folder))
    command = [NGINX, "-p", str(folder), "-c", str(folder / "main")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen(command) as nginx:
        try:
            wait_for("nginx", lambda: not socket.create_connection(("127.0.0.2", port), 1).close())
            yield
        finally:
            nginx.terminate()


@pytest.fixture
def machine(rich, node) -> Machine:
    return make_running(rich, node)


@pytest.fixture
def ports(machine, node) -> Iterator[Ports]:
    with run_house(machine.key, node.token_hash, is_behind_proxy=True) as ports:
        NodeEngine.objects.update(relay_port=ports.relay, relay_host="127.0.0.1")
        for port in (ports.http, ports.sockets):
            share(machine, port)
        yield ports


def share(machine: Machine, port: int) -> None:
    publish_port(by=machine.owner, machine=machine, port=port, audience=Audience.PUBLIC, until=None)
    access.forget_looks()


@pytest.fixture
def front(ports, tmp_path) -> Iterator[int]:
    port = free_port()
    write_main(tmp_path / "front", port=port, studio=ports.studio)
    with run_nginx(tmp_path / "front", port):
        yield port


def host_of(machine: Machine, port: int) -> str:
    return f"{port}-{machine.key}.localhost"


def test_a_machines_name_comes_through_as_it_was_asked(front, ports, machine):
    host = host_of(machine, ports.http)
    url = f"http://127.0.0.2:{front}"
    sent = {"Host": host, "X-Forwarded-For": "6.6.6.6", "X-Accel-Prefix": "/x"}
    said = httpx.put(f"{url}/a%2Fb?x=%20", headers=sent, content=b"x" * 100_000).json()
    heard = dict(said["headers"])
    assert (said["target"], said["size"], heard["host"]) == ("/a%2Fb?x=%20", 100_000, host)
    assert "x-accel-prefix" not in heard
    assert (heard["x-forwarded-for"], heard["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert httpx.get(url, headers={"Host": "studio.example"}).text == "studio"


def test_events_are_held_back_by_nobody(front, ports, machine):
    headers = {"Host": host_of(machine, ports.http)}
    with httpx.stream("GET", f"http://127.0.0.2:{front}/drip", headers=headers) as answer:
        lines = answer.iter_lines()
        assert [next(lines), next(lines), next(lines)] == ["data: 0", "", "data: 1"]


def test_an_upload_of_any_size_goes_on_to_the_machine(front, ports, machine):
    BEGUN.clear()
    for host in (host_of(machine, ports.http), "studio.example"):
        head = f"POST /huge HTTP/1.1\r\nHost: {host}\r\nContent-Length: {6 * 2**30}\r\n\r\n"
        with socket.create_connection(("127.0.0.2", front), 20) as opened:
            opened.sendall(head.encode() + b"the first of six GiB")
            if host == "studio.example":
                assert opened.recv(65536).startswith(b"HTTP/1.1 413 ")
            else:
                wait_for("the machine to hear of it", lambda: "/huge" in BEGUN)


async def test_a_socket_comes_through(front, ports, machine):
    host = host_of(machine, ports.sockets)
    async with connect(
        f"ws://{host}/x", host="127.0.0.2", port=front, proxy=None, max_size=None
    ) as opened:
        heard = json.loads(await opened.recv())
        assert (heard["path"], heard["headers"]["host"]) == ("/x", host)
        async with asyncio.timeout(20):
            await opened.send(b"\x00" * 3_000_000)
            assert len(await opened.recv()) == 3_000_000


@pytest.mark.parametrize("behind", ["studio", "http"])
def test_a_machine_cannot_have_nginx_send_a_file_of_the_hubs(ports, machine, tmp_path, behind):
    """Its program answers each request with X-Accel-Redirect; with `http` nobody takes that out."""
    port, folder = free_port(), tmp_path / "front"
    write_main(folder, port=port, studio=getattr(ports, behind))
    with run_nginx(folder, port):
        url = f"http://127.0.0.2:{port}/"
        said = httpx.get(url, headers={"Host": host_of(machine, ports.http)})
        assert said.json()["method"] == "GET"
        if behind == "http":  # what the studio's own hosts may order is obeyed
            assert httpx.get(url, headers={"Host": "studio.example"}).text == "of another person"


def test_a_range_of_numbers_comes_through(machine, node, settings, tmp_path):
    first, port, folder = free_port(), free_port(), tmp_path / "front"
    numbers = settings.MACHINES_PORTS = range(first, first + 1)
    settings.PUBLIC_URL = f"http://127.0.0.2:{port}"
    with run_house(machine.key, node.token_hash, numbers=numbers, is_behind_proxy=True) as ports:
        NodeEngine.objects.update(relay_port=ports.relay, relay_host="127.0.0.1")
        share(machine, ports.http)
        write_main(folder, port=port, studio=ports.studio)
        listens = f"listen 127.0.0.2:{first}-{first};"
        changes = {"listen 20000-20099;": listens, "http://web:": "http://127.0.0.1:"}
        write(folder, "machine-ports.conf", changes)
        with run_nginx(folder, port):
            said = httpx.get(f"http://127.0.0.2:{first}/a?b").json()
    heard = dict(said["headers"])
    assert (said["target"], heard["host"]) == ("/a?b", f"127.0.0.2:{first}")
    assert take_number(machine, ports.http) == first


def test_the_two_places_of_the_range_say_the_same():
    said = (ROOT / "deploy" / "machine-ports.yaml").read_text()
    listens = re.search(
        r"^\s+listen ([0-9-]+);", (ROOT / "deploy/machine-ports.conf").read_text(), re.M
    )
    assert set(re.findall(r"[0-9]{5}-[0-9]{5}", said)) == {listens[1]}
