"""Dev machines on a real Docker engine with user namespaces, and what they are kept from."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workers.machines.firewall import raise_firewall
from workers.machines.orders import MachinePhase
from workers.machines.reconciler import Reconciler
from workers.machines.spares import SpareEngine
from workers.machines.walls import EngineFault

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
MIB = 2**20
SECRET = "tok-not-to-be-seen"


def test_a_machine_comes_up_once_and_is_what_was_ordered(node):
    node.want("m1")
    state = node.settle()["m1"]
    assert (state.phase, state.life, state.start) == (MachinePhase.RUNNING, 1, 1)
    assert state.address and state.started_at
    assert node.inside("m1", "hostname; echo $HF_ENDPOINT; cat /run/athanor/token").split() == [
        "box",
        "http://studio.test",
        SECRET,
    ]
    assert node.settle()["m1"].started_at == state.started_at
    told = node.docker.run("docker", "inspect", node.name("m1")).stdout
    assert SECRET not in told and SECRET not in node.memory._orders.parent.as_posix()
    body = json.loads(told)[0]
    limits = body["HostConfig"]
    assert (limits["Memory"], limits["MemorySwap"], limits["PidsLimit"], limits["NanoCpus"]) == (
        128 * MIB,
        128 * MIB,
        64,
        5 * 10**8,
    )


def test_its_home_is_the_drive_and_outlives_it(node):
    node.want("m1")
    node.settle()
    node.inside("m1", "echo kept > /root/note; echo gone > /etc/mine; echo fast > /scratch/x")
    home = node.folders.homes / "ada" / "home"
    assert (home / "note").read_text() == "kept\n"
    assert (home / "note").stat().st_uid == node.remapped_root() != 0
    node.want("m1", life=2)
    assert node.settle()["m1"].life == 2
    assert node.inside("m1", "cat /root/note; cat /etc/mine; ls /scratch") == (
        "kept\ncat: /etc/mine: No such file or directory\n"
    )
    node.want("m2")
    node.settle()
    assert node.inside("m2", "cat /root/note") == "kept\n"
    assert node.inside("m1", "cat /share/models/README.md") == "shared\n"


def test_it_stops_and_starts_as_it_is_told_and_else_stays_as_it_is(node):
    node.want("m1")
    first = node.settle()["m1"]
    node.want("m1", is_running=False)
    stopped = node.settle()["m1"]
    assert stopped.phase is MachinePhase.STOPPED and stopped.address == ""
    node.want("m1", is_running=True)
    assert node.settle()["m1"].phase is MachinePhase.STOPPED  # nobody has asked for a start
    node.want("m1", start=2)
    again = node.settle()["m1"]
    assert again.phase is MachinePhase.RUNNING and again.started_at > first.started_at
    node.docker.run("docker", "kill", node.name("m1"))
    ended = node.settle()["m1"]
    assert (ended.phase, ended.exit_code) == (MachinePhase.STOPPED, 137)
    node.docker.run("docker", "rm", node.name("m1"))
    gone = node.settle()["m1"]
    assert (gone.phase, gone.life, gone.start) == (MachinePhase.ABSENT, 1, 2)
    node.want("m1", life=2)
    assert node.settle()["m1"].phase is MachinePhase.RUNNING


def test_what_nobody_wants_is_ended_with_all_that_it_had(node):
    node.want("m1")
    node.settle()
    volumes = node.docker.run("docker", "volume", "ls", "--quiet").stdout.split()
    assert len(volumes) == 1
    del node.orders["m1"]
    assert node.settle() == {}
    for what in ("volume", "network"):
        left = node.docker.run("docker", what, "ls", "--format", "{{.Name}}").stdout.split()
        assert not {"athanor-ada", *volumes} & set(left)
    assert not list(node.folders.secrets.iterdir()) and not node.memory.read_done()
    assert (node.folders.homes / "ada" / "home").is_dir()


def test_what_cannot_be_done_is_told_and_tried_again(node):
    node.want("m1", image="athanor/none@sha256:" + "0" * 64)
    node.want("m2", tenant="bob")
    states = node.settle()
    assert states["m1"].phase is MachinePhase.FAILED
    assert "is not on this node" in states["m1"].message
    assert states["m2"].phase is MachinePhase.RUNNING
    node.want("m3", image="athanor-test-machine")  # a tag may be another one tomorrow
    assert "neither by digest nor by id" in node.settle()["m3"].message
    node.want("m1", image=node.image)
    time.sleep(2)
    assert node.settle()["m1"].phase is MachinePhase.RUNNING


def test_two_that_work_at_once_make_one_of_each(node):
    other = node.make_reconciler()
    for number in range(4):
        node.want(f"m{number}")
    with ThreadPoolExecutor(2) as pool:
        for _ in range(6):
            passes = [
                pool.submit(each.pass_once, list(node.orders.values()))
                for each in (node.reconciler, other)
            ]
            for each in passes:
                each.result()
    other.close()
    states = node.settle()
    assert [state.phase for state in states.values()] == [MachinePhase.RUNNING] * 4
    listed = node.docker.run("docker", "ps", "--all", "--format", "{{.Names}}").stdout.split()
    assert sorted(listed) == [f"athanor-m{number}-1" for number in range(4)]
    networks = node.docker.run("docker", "network", "ls", "--format", "{{.Name}}").stdout.split()
    assert networks.count("athanor-ada") == 1


def test_its_root_is_nobody_and_may_little(node):
    node.want("m1")
    node.settle()
    assert node.inside("m1", "id -u").strip() == "0"
    assert node.inside("m1", "cat /proc/self/uid_map").split()[:2] == [
        "0",
        str(node.remapped_root()),
    ]
    status = node.inside("m1", "cat /proc/self/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (facts["NoNewPrivs"].strip(), facts["Seccomp"].strip()) == ("1", "2")
    capabilities = int(facts["CapBnd"].strip(), 16)
    for number in (12, 16, 17, 19, 21, 25, 27, 39):  # net_admin ... sys_admin ... bpf
        assert not capabilities >> number & 1, number
    for attempt in (
        "mount -t tmpfs none /mnt",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "mknod /dev/sda b 8 0",
        "chroot / true && unshare -m true",
        "touch /share/x",
        "touch /run/athanor/x",
        "dmesg | head -1 | grep .",
        "ls /var/run/docker.sock",
    ):
        said = node.inside("m1", f"({attempt}) && echo DONE")
        assert "DONE" not in said, (attempt, said)


def test_bombs_stay_inside(node):
    node.want("m1")
    node.want("m2", tenant="bob")
    node.settle()
    said = node.inside("m1", "for n in $(seq 500); do sleep 5 & done; echo $!")
    assert "fork" in said, said
    while "ROOM" not in node.inside("m1", "ls / > /dev/null && echo ROOM"):
        time.sleep(0.5)
    bomb = 'python3 -c "x = []\nwhile True: x.append(bytearray(2**24))" || echo ended $?'
    assert "ended 137" in node.inside("m1", bomb)
    said = node.inside("m1", "head -c 200000000 /dev/zero > /dev/shm/x")
    assert "No space left" in said, said
    node.inside("m1", "head -c 60000000 /dev/zero | tr '\\0' x | fold > /proc/1/fd/1")
    where = ("docker", "inspect", "--format", "{{.LogPath}}", node.name("m1"))
    path = Path(node.docker.run(*where).stdout.strip())
    assert sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*")) < 25 * 10**6
    assert node.inside("m2", "echo well") == "well\n"
    assert node.settle()["m1"].phase is MachinePhase.RUNNING  # only the bombs have ended
    assert node.reconciler._engine.list_unlimited() == ("layer",)  # and it says so
    log = node.docker.run(
        "docker", "inspect", "--format", "{{.HostConfig.LogConfig}}", node.name("m1")
    )
    assert "max-size:10m" in log.stdout


@pytest.fixture
def listener() -> Iterator[tuple[int, list[int]]]:
    """A server of the node's own on all its addresses, as Redis or the studio may be; who came."""
    came: list[int] = []
    with socket.create_server(("0.0.0.0", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                came.append(1)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)


REACH = "timeout 4 bash -c '</dev/tcp/{host}/{port}' && echo REACHED"


def test_it_reaches_neither_other_tenants_nor_the_node_but_the_studio(node, listener):
    port, came = listener
    raise_firewall([])
    node.want("m1")
    node.want("m2")
    node.want("m3", tenant="bob")
    states = node.settle()
    gateway = node.inside("m1", "ip route 2>/dev/null | head -1").split()
    own = states["m1"].address.rpartition(".")[0] + ".1"
    theirs = states["m3"].address.rpartition(".")[0] + ".1"
    for machine in ("m2", "m3"):
        subprocess.Popen(
            ["docker", "exec", node.name(machine), "python3", "-m", "http.server", "9000"],
            env=node.docker.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    wait_for(states["m2"].address, 9000)  # the node reaches its machines
    wait_for(states["m3"].address, 9000)

    def reaches(host: str, number: int) -> bool:
        return "REACHED" in node.inside("m1", REACH.format(host=host, port=number))

    assert reaches(states["m2"].address, 9000), gateway
    assert not reaches(states["m3"].address, 9000)
    outer = find_own_address()
    for host in (own, theirs, outer, "169.254.169.254"):
        assert not reaches(host, port), host
    assert came == []
    raise_firewall([(outer, port)])
    assert reaches(outer, port)
    assert not reaches(own, port)
    raise_firewall([])
    assert not reaches(outer, port)


def find_own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def wait_for(host: str, port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection((host, port), 2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing answers at {host}:{port}")


def test_an_engine_that_is_away_is_told_and_comes_back(node, tmp_path):
    node.want("m1")
    node.settle()
    away = SpareEngine("n1", node.folders, host=f"unix://{tmp_path}/none.sock")
    reconciler = Reconciler(away, node.memory)
    with pytest.raises(EngineFault, match="No Docker engine answers"):
        reconciler.pass_once(node.orders.values())
    reconciler.close()
    assert node.settle()["m1"].phase is MachinePhase.RUNNING
