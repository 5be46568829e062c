"""Dev machines from the studio's API to a real container and back, and what no fault breaks."""

import json
import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.deploy.machines import MachineStudio, is_offered
from tests.live import wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
ASK = (
    "import json, os, urllib.request as u; "
    "t = open(os.environ['ATHANOR_TOKEN_FILE']).read(); "
    "r = u.Request(os.environ['ATHANOR_URL'] + '/api/me/'); "
    "r.add_header('Authorization', 'Bearer ' + t); "
    "print(json.load(u.build_opener(u.ProxyHandler({})).open(r, timeout=10))['username'])"
)


def test_a_machine_comes_up_signed_in_with_its_owners_drive(house, box):
    assert house.inside(box, f'python3 -c "{ASK}"').strip() == "ada"
    assert house.inside(box, "hostname; nproc; echo $HF_ENDPOINT").split()[0] == "box"
    house.inside(box, "mkdir -p /root/work && echo from the machine > /root/work/note.txt")
    listed = house.call("ada", "GET", "/api/drive/list/?path=work").json()
    assert [entry["name"] for entry in listed["results"]] == ["note.txt"]
    text = {"path": "work/mine.txt", "text": "from the browser"}
    with house.studio.client("ada") as browser:
        written = browser.put("/api/drive/text/", json=text, headers={"If-None-Match": "*"})
    assert written.status_code == 200, written.text
    assert house.inside(box, "cat /root/work/mine.txt; echo more >> /root/work/mine.txt") == (
        "from the browser"
    )
    told = house.docker.run("docker", "inspect", house.container(box)).stdout
    token = house.inside(box, "cat /run/athanor/token").strip()
    assert token.startswith("mach_") and token not in told
    ends_at = json.loads(house.inside(box, "cat /run/athanor/machine.json"))["ends_at"]
    assert 1500 < ends_at - time.time() < 1900


def test_its_life_by_the_api(house, box):
    key = box["key"]
    house.inside(box, "echo mine > /etc/mine; echo kept > /root/kept")
    house.call("ada", "POST", f"/api/machines/{key}/restart/")
    house.wait("ada", key, "stopping")
    house.wait("ada", key, "running")
    assert house.inside(box, "cat /etc/mine") == "mine\n"
    house.call("ada", "POST", f"/api/machines/{key}/stop/")
    stopped = house.wait("ada", key, "stopped")
    assert stopped["reason"] == "stopped_by_owner"
    assert not stopped["lease"]["is_open"] and stopped["lease"]["held_mpoints"] == 0
    house.call("ada", "POST", f"/api/machines/{key}/reset/")
    house.call("ada", "POST", f"/api/machines/{key}/start/")
    house.wait("ada", key, "running")
    assert "No such file" in house.inside(box, "cat /etc/mine")
    assert house.inside(box, "cat /root/kept") == "kept\n"


def test_what_is_done_behind_our_back_is_told_within_seconds(house, box):
    key = box["key"]
    house.docker.run("docker", "kill", house.container(box))
    told = house.wait("ada", key, "stopped", timeout_s=15)
    assert told["reason"] == "ended_by_itself" and told["message"]
    house.call("ada", "POST", f"/api/machines/{key}/start/")
    house.wait("ada", key, "running")
    house.docker.run("docker", "rm", "--force", house.container(box))
    told = house.wait("ada", key, "stopped", timeout_s=15)
    assert told["reason"] == "container_gone"
    house.call("ada", "POST", f"/api/machines/{key}/start/")
    house.wait("ada", key, "running")


def test_killed_parts_change_nothing_for_a_machine_that_runs(house, box):
    begun = house.inside(box, "stat -c %Y /proc/1").strip()
    for part in ("machines", "web", "control", "redis"):
        pid = house.studio.pids()[part]
        os.kill(pid, signal.SIGKILL)
        house.studio.wait_restarted(part, pid)
        wait_for("the studio to be healthy", house.studio.is_healthy, timeout_s=90)
    wait_for("its node to be heard", lambda: is_offered(house))
    time.sleep(3)
    assert house.look("ada", box["key"])["status"] == "running"
    assert house.inside(box, "stat -c %Y /proc/1").strip() == begun


def test_create_and_delete_at_once_leave_nothing(house):
    keys = []
    for number in range(4):
        made = house.create("bob", f"b{number}")
        time.sleep(0.3 * number)
        assert house.call("bob", "DELETE", f"/api/machines/{made['key']}/").status_code == 204
        keys.append(made)
    for made in keys:
        wait_for("its container to go", lambda made=made: not house.container(made))
    wait_for(
        "nothing to be held",
        lambda: house.call("bob", "GET", "/api/points/").json()["held_mpoints"] == 0,
    )


def test_a_share_of_a_gpu_is_told_inside(house):
    made = house.create("eve", "gpu", flavor="gpu-10p")
    try:
        found = house.wait("eve", made["key"], "running")
        assert found["flavor"]["device_percent"] == 10
        said = house.inside(made, "echo $ATHANOR_DEVICES $ATHANOR_DEVICE_PERCENT")
        assert said.split() == ["MOCK-0", "10"]
    finally:
        house.call("eve", "DELETE", f"/api/machines/{made['key']}/")


def test_neighbours_and_the_node_are_out_of_reach(house, box):
    theirs = house.create("bob", "other")
    house.wait("bob", theirs["key"], "running")
    listed = house.docker.run(
        *("docker", "inspect", "--format"),
        "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}",
        house.container(theirs),
    )
    address, gateway = listed.stdout.split()
    port = house.studio.port
    for host, number in [(address, 8080), (address, 22), (gateway, port), ("127.0.0.1", port)]:
        said = house.inside(box, f"timeout 3 bash -c '</dev/tcp/{host}/{number}' && echo REACHED")
        assert "REACHED" not in said, (host, number)
    own = house.inside(box, "hostname -i").strip()
    assert "REACHED" in house.inside(
        box, f"timeout 3 bash -c '</dev/tcp/{own}/8080' && echo REACHED"
    )
    house.call("bob", "DELETE", f"/api/machines/{theirs['key']}/")


def enter(house: MachineStudio, user: str, box: dict) -> httpx.Client:
    """Return a client that is signed in at the machine's origin, as a browser would be."""
    path = f"/api/machines/{box['key']}/enter/"
    url = httpx.URL(house.call(user, "POST", path, port=8080).json()["url"])
    headers = {"Host": url.netloc.decode()}
    browser = httpx.Client(base_url=house.studio.url, headers=headers, timeout=30)
    answer = browser.get(url.raw_path.decode())
    assert answer.status_code == 303, answer.text
    browser.cookies.clear()
    browser.headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
    return browser


def test_the_browser_reaches_its_tools_through_the_node(house, box):
    with closing(enter(house, "ada", box)) as browser:
        answer = browser.get("/hello?x=1")
        assert answer.status_code == 200, answer.text
        seen = answer.json()
        assert seen["path"] == "/hello?x=1"
        assert "athanor" not in json.dumps(seen["headers"].get("Cookie", ""))
        del browser.headers["Cookie"]
        assert browser.get("/hello").status_code == 401
    house.call("ada", "POST", f"/api/machines/{box['key']}/stop/")
    house.wait("ada", box["key"], "stopped")


def test_ssh_goes_to_ones_own_machine(house, box, tmp_path):
    key = make_key(tmp_path / "key")
    added = {"name": "laptop", "public_key": key}
    assert house.call("ada", "POST", "/api/ssh-keys/", **added).status_code == 201
    said = house.call("ada", "GET", "/api/machines/options/").json()["ssh"]

    def ssh(name: str, *command: str) -> subprocess.CompletedProcess[str]:
        options = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/known"]
        options += ["-o", "IdentitiesOnly=yes", "-i", str(tmp_path / "key"), "-o", "BatchMode=yes"]
        where = ["-p", str(said["port"]), f"{name}@127.0.0.1"]
        return subprocess.run(
            ["ssh", *options, *where, *command], text=True, capture_output=True, timeout=60
        )

    wait_for("sshd", lambda: ssh("box", "true").returncode == 0)
    done = ssh("box", "hostname; exit 7")
    assert (done.stdout, done.returncode) == ("box\n", 7)
    assert ssh("other", "true").returncode == 255


def make_key(path: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30
    )
    return path.with_suffix(".pub").read_text()
