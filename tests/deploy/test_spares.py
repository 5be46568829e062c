"""Spare machines: what was made before anybody wanted it is, once taken, like any other."""

import json
from typing import Any

import pytest

from workers.machines.binds import unbind
from workers.machines.orders import MachineLimits, MachinePhase
from workers.machines.spares import SpareEngine, SpareWish

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
MIB = 2**20
LIMITS = MachineLimits(cpus=0.5, memory_bytes=192 * MIB, shm_bytes=96 * MIB, pids=64)
# Where two containers of one image may differ: who they are, when, and how they were told.
OWN = {"Id", "Created", "Name", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "Args"}
LOOK = """
cat /proc/self/status | grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid)'; cat /proc/self/uid_map
cut -d' ' -f5- /proc/self/mountinfo | sed -E 's/(shared|master):[0-9]+ //; s/ - .*//' | sort -u
df -k /dev/shm | tail -1; ulimit -a; id; hostname; cat /etc/hostname; ls -ld /root /run/athanor
ls -A /root /run/athanor /share /sys/class/net; cat /run/athanor/token; cat /etc/resolv.conf
grep box /etc/hosts | cut -f2; cat /sys/fs/cgroup/memory/memory.limit_in_bytes
cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us /proc/1/comm
"""


@pytest.fixture
def waiting(docker, node):
    """The node, whose image can wait; its spares go with it."""
    context = docker.folder / "spare"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text("FROM athanor-test-machine\nLABEL athanor.spare=1\n")
    docker.build(context / "Dockerfile", context, "athanor-test-spare")
    shown = docker.run(
        "docker", "image", "inspect", "--format", "{{.Id}}", "athanor-test-spare"
    )  # fmt: skip
    node.image = shown.stdout.strip()
    yield node
    node.orders.clear()
    node.settle()
    tend(node, 0)


def tend(node, number: int = 1) -> list[str]:
    """Have the node see to its spares, and return their names."""
    engine = SpareEngine("n1", node.folders, host=f"unix://{node.docker.socket}")
    engine.tend_spares(SpareWish(node.image, number))
    listed = node.docker.run("docker", "ps", "--all", "--format", "{{.Names}}").stdout.split()
    return [name for name in listed if name.startswith("athanor-spare-")]


def inspect(node, name: str) -> dict[str, Any]:
    return dict(json.loads(node.docker.run("docker", "inspect", name).stdout)[0])


def id_of(node, name: str) -> str:
    return str(inspect(node, name)["Id"])


def test_a_spare_becomes_the_machine_and_differs_in_nothing_from_one_made_anew(waiting):
    node = waiting
    (spare,) = tend(node)
    was = id_of(node, spare)
    node.want("warm", limits=LIMITS)
    assert node.settle()["warm"].phase is MachinePhase.RUNNING
    node.want("cold", limits=LIMITS)
    node.settle()
    assert id_of(node, node.name("warm")) == was != id_of(node, node.name("cold"))
    seen = {name: node.inside(name, LOOK) for name in ("warm", "cold")}
    told = '{"HF_ENDPOINT": "http://studio.test"}'
    assert node.inside("warm", "cat /run/athanor/environment.json") == told
    assert seen["warm"].replace("environment.json\n", "") == seen["cold"]
    warm, cold = (inspect(node, node.name(name)) for name in ("warm", "cold"))
    assert set(warm) == set(cold)
    differing = {key for key in set(warm) - OWN if warm[key] != cold[key]}
    assert differing <= {
        "Config",
        "HostConfig",
        "Mounts",
        "NetworkSettings",
        "State",
        "GraphDriver",
    }
    host = {key for key, value in warm["HostConfig"].items() if value != cold["HostConfig"][key]}
    assert host <= {"NetworkMode", "Mounts", "ShmSize"}  # its real size is in LOOK
    config = {key for key, value in warm["Config"].items() if value != cold["Config"][key]}
    assert config <= {"Env", "Hostname", "Labels"}
    assert set(warm["NetworkSettings"]["Networks"]) == set(cold["NetworkSettings"]["Networks"])
    assert "tok-not-to-be-seen" not in json.dumps(warm)


def test_it_keeps_all_that_over_a_stop_and_a_start(waiting):
    node = waiting
    tend(node)
    node.want("warm", limits=LIMITS)
    node.settle()
    node.inside("warm", "echo kept > /root/kept; echo mine > /etc/mine")
    seen = node.inside("warm", LOOK)
    node.want("warm", is_running=False)
    node.settle()
    slots = node.folders.slots
    (slot,) = [path for path in slots.iterdir() if (path / "taken").exists()]
    unbind(slot / "root")  # as after the node's own start
    node.want("warm", is_running=True, start=2)
    assert node.settle()["warm"].phase is MachinePhase.RUNNING
    assert node.inside("warm", LOOK) == seen
    assert node.inside("warm", "cat /root/kept /etc/mine") == "kept\nmine\n"
    del node.orders["warm"]
    node.settle()
    tend(node, 0)
    assert not slot.exists()
    assert (node.folders.homes / "ada" / "home" / "kept").read_text() == "kept\n"


STEPS = ["_limit", "_move_to_network", "show_home", "_dress", "rename"]


@pytest.mark.parametrize("step", STEPS)
def test_cut_off_at_any_step_it_is_nobodys_and_the_machine_is_made_anew(waiting, monkeypatch, step):
    node = waiting
    (spare,) = tend(node)
    cut_off(node, monkeypatch, step)
    with pytest.raises(KeyboardInterrupt):
        node.reconciler._engine.create(node.want("m1", limits=LIMITS))
    monkeypatch.undo()
    again = node.make_reconciler()  # the node's next process
    for _ in range(4):
        (state,) = again.pass_once(node.orders.values())
    again.close()
    assert state.phase is MachinePhase.RUNNING
    listed = node.docker.run("docker", "ps", "--all", "--format", "{{.Names}}").stdout.split()
    assert listed == [node.name("m1")] and spare not in listed


def cut_off(node, monkeypatch, step: str) -> None:
    """Have the node's process end in this step of giving a spare away."""

    def end(*_, **__):
        raise KeyboardInterrupt

    engine = node.reconciler._engine
    engine.tell_version()
    owners = {"rename": "docker.api.container.ContainerApiMixin.rename"}
    owners["show_home"] = "workers.machines.slots.Slots.show_home"
    where = owners.get(step, f"workers.machines.spares.SpareEngine.{step}")
    monkeypatch.setattr(where, end)


def test_cut_off_after_it_has_its_name_it_goes_on_as_the_machine(waiting, monkeypatch):
    node = waiting
    tend(node)
    made = node.reconciler._engine.create(node.want("m1", limits=LIMITS))
    again = node.make_reconciler()
    (state,) = again.pass_once(node.orders.values())
    (state,) = again.pass_once(node.orders.values())
    again.close()
    assert (state.phase, state.life, state.start) == (MachinePhase.RUNNING, 1, 1)
    assert id_of(node, node.name("m1")) == made
    assert node.inside("m1", "hostname; cat /run/athanor/token") == "box\ntok-not-to-be-seen"


def test_what_does_not_fit_is_made_anew_and_what_is_of_no_use_is_removed(waiting):
    node = waiting
    (spare,) = tend(node)
    limits = LIMITS.model_copy(update={"open_files": 512})
    node.want("m1", limits=limits)
    assert node.settle()["m1"].phase is MachinePhase.RUNNING
    assert tend(node) == [spare]
    node.docker.run("docker", "kill", spare)
    (other,) = tend(node)
    assert other != spare
    assert tend(node, 0) == []


def test_a_spare_reaches_nothing(waiting):
    node = waiting
    (spare,) = tend(node)
    told = inspect(node, spare)
    assert set(told["NetworkSettings"]["Networks"]) == {"none"}
    said = node.docker.run("docker", "exec", spare, "ls", "-A", "/root", "/run/athanor")
    assert said.stdout.split() == ["/root:", "/run/athanor:"]
