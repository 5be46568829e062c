"""A node whose machines run on a real Docker engine, without a studio."""

import subprocess
from functools import cached_property
from pathlib import Path

from tests.deploy.engine import DockerEngine
from workers.machines.binds import unbind
from workers.machines.engine import Folders
from workers.machines.memory import MachineMemory
from workers.machines.orders import MachineLimits, MachineOrder, MachineState
from workers.machines.reconciler import Reconciler
from workers.machines.spares import SpareEngine

MIB = 2**20
SECRET = "tok-not-to-be-seen"


class Node:
    """A node with its folders, and the orders it has."""

    def __init__(self, docker: DockerEngine, path: Path) -> None:
        self.docker, self.path = docker, path
        self.folders = Folders(
            path / "homes", path / "share", path / "secrets", disks=path / "disks"
        )
        (path / "share" / "models").mkdir(parents=True)
        (path / "share" / "models" / "README.md").write_text("shared\n")
        self.orders: dict[str, MachineOrder] = {}
        self.memory = MachineMemory(path / "machines")
        self.memory.create()
        self.reconciler = self.make_reconciler()

    @cached_property
    def image(self) -> str:
        """The id of the tests' image."""
        format = ("--format", "{{.Id}}", "athanor-test-machine")
        return self.docker.run("docker", "image", "inspect", *format).stdout.strip()

    def make_reconciler(self) -> Reconciler:
        host = f"unix://{self.docker.socket}"
        return Reconciler(SpareEngine("n1", self.folders, host=host), self.memory)

    def want(self, machine: str, *, tenant: str = "ada", **changes) -> MachineOrder:
        known = self.orders.get(machine)
        if known is None:
            home = self.folders.homes / tenant / "home"
            home.mkdir(parents=True, exist_ok=True)
            root = self.remapped_root()
            subprocess.run(["chown", "-R", f"{root}:{root}", str(home)], check=True)
            known = MachineOrder(
                machine=machine,
                life=1,
                start=1,
                is_running=True,
                image=self.image,
                hostname="box",
                tenant=tenant,
                home=tenant,
                limits=MachineLimits(cpus=0.5, memory_bytes=128 * MIB, pids=64),
                environment={"HF_ENDPOINT": "http://studio.test"},
                secrets={"token": SECRET},
            )
        self.orders[machine] = known.model_copy(update=changes)
        return self.orders[machine]

    def settle(self) -> dict[str, MachineState]:
        for _ in range(12):
            states = self.reconciler.pass_once(self.orders.values())
        return {state.machine: state for state in states}

    def unmount(self) -> None:
        """Let go of what is still mounted below its folder, such as that of the slots itself."""
        told = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        points = [Path(line.split()[4]) for line in told]
        for point in reversed(points):  # what lies upon another was mounted later
            if point.is_relative_to(self.path):
                unbind(point)

    def remapped_root(self) -> int:
        for line in Path("/etc/subuid").read_text().splitlines():
            name, first, _ = line.split(":")
            if name == "dockremap":
                return int(first)
        raise AssertionError("the engine made no range of users")

    def name(self, machine: str) -> str:
        return f"athanor-{machine}-{self.orders[machine].life}"

    def inside(self, machine: str, command: str) -> str:
        """Run a command in a machine; what it says, and its errors."""
        done = subprocess.run(
            ["docker", "exec", self.name(machine), "sh", "-c", f"exec 2>&1; {command}"],
            env=self.docker.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
        )
        return done.stdout
