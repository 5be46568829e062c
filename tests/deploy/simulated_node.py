"""A node whose Docker engine is simulated, for more machines than a test machine could run.

    ATHANOR_... (a node's variables) python -m tests.deploy.simulated_node CORES ADDRESS

Everything of the node's but the engine is real: what it says and hears, its deeds, its relay, its
measures. Its containers are notes in a folder, which outlive the process as real ones do, and one
program at ADDRESS answers in place of what runs in them.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

from workers.config import NodeConfig, read_config
from workers.logs import configure_logs
from workers.machines.engine import Disks
from workers.machines.host import MachineHost
from workers.machines.orders import MachineOrder, SavedState
from workers.machines.plan import Container
from workers.machines.reconciler import Reconciler
from workers.machines.usage import UsageMeter
from workers.studio_client import StudioClient

IMAGE = "sha256:" + "a" * 64
MEMORY_BYTES = 2**42
_BEAT_EVERY_S = 2.0


class SimulatedEngine:
    """Containers as notes in a folder, and a line for each deed that was ever done to one."""

    def __init__(self, folder: Path, address: str, *, start_s: float = 0.0) -> None:
        """Take up what is there; a start takes `start_s`."""
        self._folder, self._address, self._start_s = folder, address, start_s
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        bodies = [json.loads(path.read_text()) for path in folder.glob("*.json")]
        self._containers = {body["id"]: Container(**body) for body in bodies}

    def tell_version(self) -> str:
        return "simulated"

    def list_images(self) -> list[str]:
        return [IMAGE]

    def list_containers(self, machines: Collection[str] | None = None) -> list[Container]:
        with self._lock:
            there = list(self._containers.values())
        return [each for each in there if machines is None or each.machine in machines]

    def create(self, order: MachineOrder) -> str | None:
        made = Container(f"{order.machine}-{order.life}", order.machine, order.life, "created")
        with self._lock:
            if made.id in self._containers:
                return None
            self._keep("create", made)
        return made.id

    def start(self, container: str, order: MachineOrder) -> None:
        time.sleep(self._start_s)
        now = {"status": "running", "started_at": time.time(), "address": self._address}
        with self._lock:
            # Its process is ours, so that there is something to measure.
            up = replace(self._containers[container], pid=os.getpid(), **now)
            self._keep("start", up)

    def stop(self, container: str) -> None:
        with self._lock:
            ended = {"status": "exited", "ended_at": time.time(), "exit_code": 0, "pid": 0}
            self._keep("stop", replace(self._containers[container], address="", **ended))

    def remove(self, container: str) -> None:
        with self._lock:
            self._note("remove", container)
            del self._containers[container]
            (self._folder / f"{container}.json").unlink()

    def measure_disks(self) -> Disks:
        return Disks({}, {}, 2**40)

    def hide_mounts(self) -> None:
        """It has none; nor networks, secrets, scratch disks and spares, see below."""

    refresh_secrets = forget_secrets = remove_idle_scratch = lambda self, _: None
    remove_idle_networks = tend_spares = lambda self, _: None

    def _keep(self, deed: str, container: Container) -> None:
        self._note(deed, container.id)
        self._containers[container.id] = container
        (self._folder / f"{container.id}.json").write_text(json.dumps(asdict(container)))

    def _note(self, deed: str, container: str) -> None:
        with (self._folder / "deeds").open("a") as deeds:
            deeds.write(f"{deed} {container}\n")


class SimulatedHost(MachineHost):
    """The node's part for machines, with such an engine and without root's work around it."""

    def __init__(self, config: NodeConfig, client: StudioClient, engine: SimulatedEngine) -> None:
        super().__init__(config, client, engine_host="unix:///nobody")
        self._engine = engine
        self._reconciler = Reconciler(engine, self._memory)
        self._meter = UsageMeter(engine)

    def _show_mounts(self) -> None:
        """It mounts nothing."""

    def _ready(self) -> str:
        return self._engine.tell_version()

    async def _open_ways(self) -> None:
        if self._relay_port == 0:
            self._relay_port = await self._relay.open(self._config.node_host, 0)

    def _look_at_saved(self) -> tuple[SavedState, ...]:
        return ()


async def live(config: NodeConfig, engine: SimulatedEngine, cores: int) -> None:
    """Work as such a node until told to end."""
    async with StudioClient(config.studio_url) as client:
        host = SimulatedHost(config, client, engine)
        tasks = [asyncio.create_task(work) for work in (host.run(), _beat(config, client, cores))]
        for task in tasks:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _beat(config: NodeConfig, client: StudioClient, cores: int) -> None:
    """Say that the node is there, which is another part's work on a real one."""
    said = {"version": "simulated", "cores": cores, "memory_bytes": MEMORY_BYTES, "devices": []}
    said |= {"disk_free_bytes": 2**40, "disk_bytes": 2**41, "runs": []}
    while True:
        with contextlib.suppress(Exception):  # the studio is away: that is what is tried
            await client.send_heartbeat(config.node_token, json.dumps(said).encode())
        await asyncio.sleep(_BEAT_EVERY_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cores", type=int)
    parser.add_argument("address")
    parser.add_argument("--start-s", type=float, default=0.0, help="what a start takes")
    options = parser.parse_args()
    configure_logs("machines")
    config = read_config()
    folder = config.node_dir / "containers"
    engine = SimulatedEngine(folder, options.address, start_s=options.start_s)
    asyncio.run(live(config, engine, options.cores))


if __name__ == "__main__":
    main()
