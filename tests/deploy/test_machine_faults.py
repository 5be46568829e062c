"""Faults and attacks on a real engine: the truth is told in time, and nothing is left or double."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.attacks import ATTEMPTS
from tests.deploy.faulty_engine import (
    HOW,
    SAVE_STEPS,
    SPARE_STEPS,
    STEPS,
    FaultyEngine,
    run_faulty_engine,
)
from tests.deploy.machines import TRUTH_S, MachineStudio
from tests.deploy.nodes import Node
from tests.deploy.test_machine_studio import make_key
from tests.live import wait_for
from workers.machines.orders import MachineLimits, MachineOrder, MachinePhase, SavedState
from workers.machines.reconciler import Reconciler
from workers.machines.saving import Saver
from workers.machines.spares import SpareEngine, SpareWish
from workers.machines.walls import EngineFault

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
STILL_S = 20
NUM_STORMED = int(os.environ.get("ATHANOR_STORM", "12"))


@pytest.fixture
def other(house) -> Iterator[dict]:
    """Bob's machine, running."""
    made = house.create("bob", "other")
    yield house.wait("bob", made["key"], "running")
    house.call("bob", "DELETE", f"/api/machines/{made['key']}/")
    wait_for("its container to go", lambda: not house.container(made))


@contextlib.contextmanager
def listen() -> Iterator[tuple[int, list[int]]]:
    """Listen on all of the node's addresses, as its services do; who came."""
    came: list[int] = []
    with socket.create_server(("0.0.0.0", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()
                    came.append(1)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)


def find_words(house: MachineStudio, box: dict, other: dict) -> dict[str, Any]:
    """Return what there is to attack from the one machine, the other's things among it."""
    ask = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}"

    def look(machine: dict) -> list[str]:
        name = house.container(machine)
        return house.docker.run("docker", "inspect", "--format", ask, name).stdout.split()

    (_, gateway), (theirs, their_gateway) = look(box), look(other)
    told = house.studio.manage("shell", "-c", _RELAY).split()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        node = probe.getsockname()[0]
    return {
        "theirs": theirs, "their_gateway": their_gateway, "gateway": gateway, "node": node,
        "their_name": house.container(other), "their_key": other["key"],
        "studio": house.studio.port, "ssh": house.studio.env["STUDIO_SSH_PORT"],
        "relay": told[-2], "her_id": told[-1], "pid": house.studio.parent.pid,
        "her_home": house.studio.data_dir / "drive" / told[-1] / "home",
    }  # fmt: skip


_RELAY = (
    "from studio.machines.models import NodeEngine; from studio.accounts.models import User; "
    "print(NodeEngine.objects.get().relay_port, User.objects.get(username='bob').pk)"
)


def test_nothing_a_machines_root_tries_gets_out_of_it(house, box, other):
    house.inside(other, "echo GOT > /root/secret")
    assert "GOT" in house.inside(box, "timeout 3 bash -c '</dev/tcp/127.0.0.1/8080' && echo GOT")
    with listen() as (port, came):
        words = {**find_words(house, box, other), "listener": port}

        def attempt(line: str) -> str:
            for word, value in words.items():
                line = line.replace("{" + word + "}", str(value))
            return house.inside(box, line)

        with ThreadPoolExecutor(6) as pool:
            said = dict(zip(ATTEMPTS, pool.map(attempt, [a.line for a in ATTEMPTS]), strict=True))
    got = {each.id: text for each, text in said.items() if "GOT" in text}
    assert not got
    assert came == []
    assert len({each.id for each in ATTEMPTS}) == len(ATTEMPTS) >= 70


def test_ssh_leads_no_further_than_the_machine(house, box, other, tmp_path):
    key = {"name": "laptop", "public_key": make_key(tmp_path / "key")}
    assert house.call("ada", "POST", "/api/ssh-keys/", **key).status_code == 201
    words = find_words(house, box, other)
    options = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/known"]
    options += ["-o", "IdentitiesOnly=yes", "-i", str(tmp_path / "key"), "-o", "BatchMode=yes"]
    options += ["-o", "ControlMaster=auto", "-o", f"ControlPath={tmp_path}/c"]
    options += ["-o", "ControlPersist=30", "-p", str(words["ssh"]), "box@127.0.0.1"]

    def forward(target: str) -> bytes:
        asked = b"GET / HTTP/1.0\r\n\r\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                ["ssh", "-W", target, *options], input=asked, capture_output=True, timeout=6
            ).stdout
        return b""

    wait_for("sshd", lambda: b"200" in forward("127.0.0.1:8080"))
    targets = [f"{words['theirs']}:8080", f"{words['theirs']}:22", "169.254.169.254:80"]
    targets += [f"{words[host]}:{words['studio']}" for host in ("gateway", "node")]
    targets += [f"127.0.0.1:{words[port]}" for port in ("studio", "relay", "ssh")]
    with ThreadPoolExecutor(4) as pool:
        said = dict(zip(targets, pool.map(forward, targets), strict=True))
    assert not {target: text for target, text in said.items() if text}
    subprocess.run(["ssh", "-O", "exit", *options], capture_output=True, check=False)


def test_of_two_that_make_one_name_at_once_one_does(house):
    wish = {"name": "twin", "image": "base", "flavor": "cpu-1", "duration_s": 1800}
    house.call("eve", "GET", "/api/machines/")
    with ThreadPoolExecutor(6) as pool:
        made = list(
            pool.map(lambda _: house.call("eve", "POST", "/api/machines/", **wish), "x" * 6)
        )
    assert Counter(answer.status_code for answer in made) == {201: 1, 409: 5}
    found = house.call("eve", "GET", "/api/machines/").json()
    assert [machine["name"] for machine in found] == ["twin"]
    held = house.call("eve", "GET", "/api/points/").json()["held_mpoints"]
    assert held == found[0]["lease"]["held_mpoints"]
    house.call("eve", "DELETE", f"/api/machines/{found[0]['key']}/")
    await_nothing(house, "eve")


def await_nothing(house: MachineStudio, *people: str) -> None:
    """Wait, for a minute at most, until nothing is left of these people's machines."""

    def is_clean() -> bool:
        held = [house.call(who, "GET", "/api/points/").json()["held_mpoints"] for who in people]
        owners = {house.call(who, "GET", "/api/me/").json()["id"] for who in people}
        tenants = {f"u{owner}" for owner in owners}
        networks = house.docker.run(
            "docker", "network", "ls", "--format", '{{.Label "athanor.tenant"}}'
        ).stdout.split()
        left = [house.call(who, "GET", "/api/machines/").json() for who in people]
        return not any(held) and not any(left) and not tenants & set(networks)

    wait_for("nothing to be left", is_clean, timeout_s=60)


def test_a_node_without_power_is_told_and_not_paid_for(house, box):
    """Its process stands still, which from the studio looks as power that is off."""
    pid = house.studio.pids()["machines"]
    os.kill(pid, signal.SIGSTOP)
    try:
        told = wait_for(
            "the silence to be told",
            lambda: (found := house.look("ada", box["key"]))["message"] and found,
            timeout_s=TRUTH_S + 5,  # what a busy test machine adds
        )
        assert "does not answer" in told["message"]
        used = told["lease"]["used_s"]
        silent_at = time.monotonic()
        wait_for("time to pass", lambda: time.monotonic() > silent_at + 8)
        assert house.look("ada", box["key"])["lease"]["used_s"] == used
    finally:
        os.kill(pid, signal.SIGCONT)
    after = wait_for(
        "its node to be heard",
        lambda: not (found := house.look("ada", box["key"]))["message"] and found,
        timeout_s=TRUTH_S + 5,
    )
    assert after["status"] == "running"
    assert after["lease"]["used_s"] - used < 10 + 2 * TRUTH_S  # the gap counts as ten seconds


def test_the_engine_restarts_without_its_machines_and_with_them(house, box):
    key = box["key"]
    house.docker.end()
    house.docker.start("--live-restore")
    told = house.await_truth("ada", key, "stopped")
    assert told["reason"] == "ended_by_itself" and told["message"]
    house.call("ada", "POST", f"/api/machines/{key}/start/")
    house.wait("ada", key, "running")
    begun = house.inside(box, "stat -c %Y /proc/1").strip()
    for how in (signal.SIGTERM, signal.SIGKILL):
        house.docker.end(how)
        wait_for(
            "its absence to be told",
            lambda: house.call("ada", "GET", "/api/machines/options/").json()["engine"]["problem"],
            timeout_s=TRUTH_S + 5,
        )
        assert house.look("ada", key)["status"] == "running"
        house.docker.start("--live-restore")
        wait_for("it to be there", lambda: is_there(house))
        assert house.inside(box, "stat -c %Y /proc/1").strip() == begun
        found = house.look("ada", key)
        assert (found["status"], found["lease"]["is_open"]) == ("running", True)
    assert len(house.docker.run("docker", "ps", "--quiet").stdout.split()) == 1
    house.docker.end()
    house.docker.start()


def test_an_engine_that_stands_still_costs_nothing_and_its_machines_are_as_they_were(
    house, box, tmp_path
):
    key = {"name": "still", "public_key": make_key(tmp_path / "key")}
    assert house.call("ada", "POST", "/api/ssh-keys/", **key).status_code == 201
    port = house.studio.env["STUDIO_SSH_PORT"]
    ssh = ["ssh", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/known"]
    ssh += ["-o", "IdentitiesOnly=yes", "-i", str(tmp_path / "key"), "-o", "BatchMode=yes"]
    ssh += ["-p", str(port), "box@127.0.0.1", "echo in"]

    def come_in() -> bool:
        done = subprocess.run(ssh, capture_output=True, timeout=60, check=False)
        return done.stdout == b"in\n"

    wait_for("sshd", come_in)
    begun = house.inside(box, "stat -c %Y /proc/1")
    before, at = house.look("ada", box["key"])["lease"]["used_s"], time.monotonic()
    house.docker.process.send_signal(signal.SIGSTOP)
    try:
        told = wait_for(
            "its silence to be told",
            lambda: (found := house.look("ada", box["key"]))["message"] and found,
            timeout_s=TRUTH_S + 5,
        )
        assert told["status"] == "running" and "does not answer" in told["message"]
        wait_for("it to have stood still", lambda: time.monotonic() > at + STILL_S)
    finally:
        house.docker.process.send_signal(signal.SIGCONT)
    after = wait_for(
        "its engine to be heard",
        lambda: not (found := house.look("ada", box["key"]))["message"] and found,
        timeout_s=TRUTH_S + 5,
    )
    assert after["status"] == "running"
    assert after["lease"]["used_s"] - before <= time.monotonic() - at + 1
    assert house.inside(box, "stat -c %Y /proc/1") == begun
    wait_for("SSH to come in again", come_in)
    still = next(
        each
        for each in house.call("ada", "GET", "/api/ssh-keys/").json()
        if each["name"] == "still"
    )
    house.call("ada", "DELETE", f"/api/ssh-keys/{still['id']}/")


def is_there(house: MachineStudio) -> bool:
    return bool(house.call("ada", "GET", "/api/machines/options/").json()["engine"]["is_available"])


def test_a_storm_of_starts_and_stops_leaves_nothing(house):
    people, chance = ["gus", "hal"], random.Random(14)
    for who in people:
        house.call(who, "GET", "/api/machines/")

    spans: dict[str, float] = {}

    def storm(number: int) -> None:
        who = people[number % 2]
        begun = time.monotonic()
        made = house.create(who, f"s{number}")
        for _ in range(3):
            time.sleep(chance.random())
            deed = chance.choice(["start", "stop", "restart", "kill", "remove"])
            if deed in {"kill", "remove"} and (name := house.container(made)):
                command = ["docker", "kill"] if deed == "kill" else ["docker", "rm", "--force"]
                subprocess.run([*command, name], env=house.docker.env, capture_output=True)
            elif deed not in {"kill", "remove"}:
                house.call(who, "POST", f"/api/machines/{made['key']}/{deed}/")
        assert house.call(who, "DELETE", f"/api/machines/{made['key']}/").status_code == 204
        wait_for("its container to go", lambda: not house.container(made))
        spans[made["key"]] = time.monotonic() - begun

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(storm, range(NUM_STORMED)))
    await_nothing(house, *people)
    check_charges(house, spans)
    left = house.docker.run("docker", "ps", "--all", "--quiet").stdout.split()
    volumes = house.docker.run("docker", "volume", "ls", "--quiet").stdout.split()
    assert (left, volumes) == ([], [])


_CHARGES = (
    "import json; from studio.machines.models import Lease; "
    "from studio.points.selectors import get_run_costs; "
    "leases = list(Lease.objects.select_related('machine')); "
    "costs = get_run_costs([each.pk for each in leases]); "
    "print(json.dumps([[each.machine.key, costs.get(each.pk, 0), each.rate_mpoints_per_hour] "
    "for each in leases]))"
)


def check_charges(house: MachineStudio, spans: dict[str, float]) -> None:
    """Nobody has paid for more than the whole of the time in which a machine was there, in s."""
    told = json.loads(house.studio.manage("shell", "-c", _CHARGES).splitlines()[-1])
    paid: Counter[str] = Counter()
    rates: dict[str, int] = {}
    for key, cost, rate in told:
        paid[key] += cost
        rates[key] = rate
    assert set(spans) <= set(rates)
    too_much = {
        key: (paid[key], span, rates[key])
        for key, span in spans.items()
        if paid[key] * 3600 > span * rates[key]
    }
    assert not too_much


def test_a_machine_whose_time_is_up_stops_and_its_files_are_kept(house, box):
    key = box["key"]
    house.inside(box, "echo kept > /root/kept; echo mine > /etc/mine; sync")
    shorten = (
        "from studio.machines.models import Lease; "
        f"Lease.objects.filter(machine__key='{key}', ended_at=None).update(granted_s=5)"
    )
    house.studio.manage("shell", "-c", shorten)
    stopped = house.wait("ada", key, "stopped")
    assert stopped["reason"] == "time_up"
    assert not stopped["lease"]["is_open"] and stopped["lease"]["held_mpoints"] == 0
    rate = stopped["lease"]["rate_mpoints_per_hour"]
    told = json.loads(house.studio.manage("shell", "-c", _CHARGES).splitlines()[-1])
    assert [cost * 3600 <= 5 * rate for found, cost, _ in told if found == key] == [True]
    assert house.call("ada", "POST", f"/api/machines/{key}/start/").status_code == 200
    house.wait("ada", key, "running")
    assert house.inside(box, "cat /root/kept /etc/mine") == "kept\nmine\n"


@pytest.fixture
def faulty(house, tmp_path) -> Iterator[tuple[Node, FaultyEngine]]:
    """A node of its own on the same engine, which fails where it is told to."""
    node = Node(house.docker, tmp_path)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011)
    path = Path(house.docker.folder) / f"f{time.monotonic_ns()}"
    with run_faulty_engine(house.docker.socket, path) as engine:
        ticks = iter(range(0, 1_000_000, 60))  # each look is a minute later: nothing is put off
        own = SpareEngine("n1", node.folders, host=f"unix://{path}")
        node.reconciler.close()
        node.reconciler = Reconciler(own, node.memory, clock=lambda: next(ticks))
        house.docker.run("docker", "tag", house.image, "athanor-test-machine")
        yield node, engine
        node.reconciler.close()
    node.unmount()  # where spares were


@pytest.mark.parametrize("how", HOW)
def test_an_engine_that_fails_at_a_step_is_brought_to_what_shall_be(faulty, how):
    node, engine = faulty
    for step in STEPS:
        own = node.reconciler._engine
        own._client = own._root = None  # as in a new process: what it is, is asked anew
        is_last = step in {"stop", "remove"}
        if not is_last:
            engine.fail(step, how, 2)
        node.want("m1", life=1)
        settle(node, lambda states: states["m1"].phase is MachinePhase.RUNNING, f"{step} {how}")
        assert len(list_ours(node)) == 1, step
        if is_last:
            engine.fail(step, how, 2)
        node.orders.clear()
        settle(node, lambda _: not list_ours(node), f"{step} {how}, and gone")
        assert not node.memory.read_done(), step
        assert engine.num_left < 2, f"{step} was never asked"


@pytest.mark.parametrize("how", HOW)
def test_a_spare_whose_taking_fails_at_a_step_leaves_one_machine(faulty, how):
    node, engine = faulty
    node.image = make_spare_image(node)
    limits = MachineLimits(cpus=0.5, memory_bytes=192 * 2**20, pids=64)
    for step in SPARE_STEPS:
        tend_spares(node, 1)
        engine.fail(step, how, 2)
        node.want("m1", life=1, limits=limits)
        settle(node, lambda states: states["m1"].phase is MachinePhase.RUNNING, f"{step} {how}")
        assert engine.num_left < 2, f"{step} was never asked"
        engine.num_left = 0
        tend_spares(node, 0)
        (name,) = list_ours(node, "{{.Names}}")
        assert name == "athanor-m1-1", step
        assert list_networks(node, name) == ["athanor-ada"], step
        node.orders.clear()
        settle(node, lambda _: not list_ours(node), f"{step} {how}, and gone")


def make_spare_image(node: Node) -> str:
    context = node.path / "spare"
    context.mkdir()
    lines = 'FROM athanor-test-machine\nLABEL athanor.spare=1\nCMD ["sleep", "infinity"]\n'
    (context / "Dockerfile").write_text(lines)
    node.docker.build(context / "Dockerfile", context, "athanor-test-fault-spare")
    shown = node.docker.run(
        "docker", "image", "inspect", "--format", "{{.Id}}", "athanor-test-fault-spare"
    )
    return shown.stdout.strip()


def tend_spares(node: Node, number: int) -> None:
    """Have the node see to its spares, by an engine without a fault."""
    own = SpareEngine("n1", node.folders, host=f"unix://{node.docker.socket}")
    own.tend_spares(SpareWish(node.image, number))


def list_networks(node: Node, name: str) -> list[str]:
    ask = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
    return node.docker.run("docker", "inspect", "--format", ask, name).stdout.split()


@pytest.mark.parametrize("how", HOW)
def test_a_save_that_fails_at_a_step_is_told_and_made_once(faulty, how):
    node, engine = faulty
    for step in SAVE_STEPS:
        node.want("m1", life=1)
        settle(node, lambda states: states["m1"].phase is MachinePhase.RUNNING, f"{step} {how}")
        order = node.want("m1", save=f"k-{step}-{how}")
        engine.fail(step, how, 1)
        told = save(order, engine.path)
        assert engine.num_left == 0, f"{step} was never asked"
        assert bool(told.problem) == (how != "slow") and bool(told.image) == (how == "slow")
        again = save(order, engine.path)  # as a new process hears the same order
        assert (again.problem, bool(again.image)) == ("", True)
        listed = node.docker.run(
            "docker", "images", "--quiet", "--filter", f"label=athanor.saved={order.save}"
        ).stdout.split()
        assert len(set(listed)) == 1, step
        node.orders.clear()
        settle(node, lambda _: not list_ours(node), f"{step} {how}, and gone")
    Saver("n1", host=f"unix://{node.docker.socket}").tidy([])


def save(order: MachineOrder, path: Path) -> SavedState:
    """Have an order's image saved by a process that knows of none yet; what came of it."""
    saver = Saver("n1", host=f"unix://{path}")

    def ended() -> SavedState | None:
        return next(iter(saver.look([order])), None)

    found = wait_for("the save to end", ended)
    assert isinstance(found, SavedState)
    return found


def settle(node: Node, is_done: Any, what: str) -> None:
    """Pass until it is so; the engine's faults are what passes are told of."""

    def once() -> bool:
        try:
            states = node.reconciler.pass_once(node.orders.values())
        except EngineFault:
            return False
        return bool(is_done({state.machine: state for state in states}))

    wait_for(what, once, timeout_s=30)
    for _ in range(2):  # and it stays so
        with contextlib.suppress(Exception):
            node.reconciler.pass_once(node.orders.values())


def list_ours(node: Node, format: str = "{{.ID}}") -> list[str]:
    filter = ("--filter", "label=athanor.node=n1")
    listed = node.docker.run("docker", "ps", "--all", "--format", format, *filter)
    return listed.stdout.split()
