"""Saving, cloning and the terminal of the browser, on a real Docker engine."""

import json
import time
from contextlib import closing

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.deploy.machines import MachineStudio
from tests.live import wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]


def list_saved(house: MachineStudio) -> list[str]:
    told = house.docker.run("docker", "images", "--quiet", "--filter", "label=athanor.saved")
    return told.stdout.split()


def wait_saved(house: MachineStudio, key: str) -> dict:
    def ended() -> dict | None:
        saving = house.look("ada", key)["saving"]
        return saving if saving and saving["ended_at"] else None

    return dict(wait_for("it to be saved", ended))


def delete(house: MachineStudio, *machines: dict) -> None:
    for machine in machines:
        house.call("ada", "DELETE", f"/api/machines/{machine['key']}/")
    for machine in machines:
        wait_for("its container to go", lambda machine=machine: not house.container(machine))


def test_a_start_is_told_until_its_tool_answers(house, box):
    def usable() -> dict | None:
        progress = house.look("ada", box["key"])["progress"]
        return progress if progress["is_usable"] else None

    told = wait_for("its tool to answer", usable)
    doors = {door["name"]: door["ready_at"] for door in told["doors"]}
    assert told["placed_at"] <= told["created_at"] <= told["started_at"] <= doors["vscode"]
    assert house.inside(box, "timeout 3 bash -c '</dev/tcp/127.0.0.1/8080' && echo yes") == "yes\n"


def test_a_saved_machine_has_what_was_installed_and_no_secret(house, box):
    token = house.inside(box, "cat /run/athanor/token").strip()
    assert token.startswith("mach_")
    house.inside(box, "echo tools > /opt/mine; echo private > /root/private; echo x > /scratch/x")
    asked = house.call("ada", "POST", f"/api/machines/{box['key']}/save/", name="mine")
    assert asked.status_code == 200, asked.text
    part = "machines"  # the node's part that does it: it may be killed at any moment
    house.studio.wait_restarted(part, house.studio.kill(part))
    assert wait_saved(house, box["key"])["problem"] == ""
    listed = house.call("ada", "GET", "/api/saved-images/").json()
    assert [(each["name"], each["status"]) for each in listed] == [("mine", "ready")]
    assert listed[0]["size_bytes"] > 1_000_000
    assert len(list_saved(house)) == 1
    (image,) = list_saved(house)
    told = house.docker.run("docker", "history", "--no-trunc", image).stdout
    told += house.docker.run("docker", "inspect", image).stdout
    assert token not in told
    # Whatever a container writes lies in these; the rest is the base image's own.
    search = f"grep -rlsF {token} /etc /home /opt /root /run /share /srv /tmp /var; echo searched"
    look = f"cat /opt/mine; ls /root /scratch; {search}"
    inside = house.docker.run("docker", "run", "--rm", image, "sh", "-c", look)
    assert inside.stdout.split() == ["tools", "/root:", "/scratch:", "searched"]
    two = house.create("ada", "two", image="mine")
    house.wait("ada", two["key"], "running")
    assert house.inside(two, "cat /opt/mine /root/private; ls /scratch") == "tools\nprivate\n"
    assert house.call("ada", "DELETE", "/api/saved-images/mine/").status_code == 204
    delete(house, box)
    assert len(list_saved(house)) == 1  # a machine has it still
    delete(house, two)
    wait_for("the node to remove the image", lambda: not list_saved(house), timeout_s=120)


def test_a_clone_is_like_its_source(house, box):
    house.inside(box, "echo tools > /opt/mine")
    made = house.call("ada", "POST", f"/api/machines/{box['key']}/clone/", name="twin")
    assert made.status_code == 201, made.text
    twin = house.wait("ada", made.json()["key"], "running")
    assert house.inside(twin, "cat /opt/mine; hostname") == "tools\ntwin\n"
    assert house.inside(twin, "cat /run/athanor/token") != house.inside(
        box, "cat /run/athanor/token"
    )
    assert house.look("ada", box["key"])["status"] == "running"
    assert house.call("ada", "GET", "/api/saved-images/").json() == []
    delete(house, twin)
    wait_for("the node to remove the copy", lambda: not list_saved(house), timeout_s=120)


class Browser:
    """Ada's browser, signed in by a link."""

    def __init__(self, house: MachineStudio) -> None:
        self.url = house.studio.url
        with httpx.Client(follow_redirects=True, timeout=60) as client:
            page = client.get(house.studio.signin_link("ada"))
            token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
            answer = client.post(
                page.url, data={"csrfmiddlewaretoken": token}, headers={"Referer": str(page.url)}
            )
            assert answer.status_code == 200, answer.text
            self.cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())

    def open(self, key: str, *, origin: str = "") -> ClientConnection:
        address = f"{self.url.replace('http', 'ws')}/ws/machines/{key}/terminal/?columns=90&rows=20"
        headers = {"Cookie": self.cookies}
        return connect(
            address,
            additional_headers=headers,
            origin=origin or self.url,
            proxy=None,
            max_size=None,
        )


def hear(socket: ClientConnection, wanted: bytes) -> bytes:
    heard, deadline = b"", time.monotonic() + 30
    while wanted not in heard:
        message = socket.recv(timeout=max(0.1, deadline - time.monotonic()))
        if isinstance(message, bytes):
            heard += message
            socket.send(json.dumps({"type": "read", "bytes": len(message)}))
    return heard


def test_a_shell_in_the_browser_outlives_the_portal(house, box):
    browser = Browser(house)
    with closing(browser.open(box["key"])) as socket:
        opened = json.loads(socket.recv(timeout=30))
        assert opened["type"] == "opened" and opened["is_kept"]
        socket.send(b"X=still; echo $((6*7)) $(hostname); stty size\n")
        assert b"42 box" in hear(socket, b"20 90")
        house.studio.wait_restarted("web", house.studio.kill("web"))
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=30)
    wait_for("the studio to be healthy", house.studio.is_healthy, timeout_s=90)
    with closing(browser.open(box["key"])) as socket:
        assert json.loads(socket.recv(timeout=30))["kept"] == ["web-1"]
        socket.send(b"echo $X-here\n")
        assert b"42 box" in hear(socket, b"still-here")
        house.call("ada", "POST", f"/api/machines/{box['key']}/stop/")
        code = await_close(socket)
    if code == 1012:  # its parent has restarted the portal once more: a busy machine
        wait_for("the studio to be healthy", house.studio.is_healthy, timeout_s=90)
        with closing(browser.open(box["key"])) as socket:
            code = await_close(socket)
    assert code == 4409
    house.wait("ada", box["key"], "stopped")


def await_close(socket: ClientConnection) -> int:
    """Return the code with which the studio closes a terminal."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(timeout=30)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_a_page_from_elsewhere_gets_no_terminal(house, box):
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as refused:
        Browser(house).open(box["key"], origin="http://evil.test")
    assert refused.value.response.status_code == 403
