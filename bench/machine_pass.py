"""What a node's pass over a thousand dev machines takes on the node itself.

    python -m bench.machine_pass [--machines 1000] [--passes 10]

The pass is the node's own code, its Docker client too; the engine is a double that has all answers
ready (`bench.docker_double`), since no test machine runs a thousand containers. A real engine's own
time comes on top. Needs root: secrets are given to the machines' root. Prints one table and, as its
last line, one JSON object.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.docker_double import IMAGE, NODE
from bench.machine_ways import run
from tests.deploy.simulated_node import SimulatedHost
from workers.config import NodeConfig
from workers.machines.engine import Folders
from workers.machines.orders import MachineLimits, MachineOrder
from workers.machines.plan import Done
from workers.machines.spares import SpareEngine
from workers.studio_client import StudioClient

OF_A_TENANT = 20
_SECRETS = {"token": "mach_" + "x" * 40, "gateway_key.pub": "y" * 100, "machine.json": "z" * 400}


def make_orders(number: int) -> list[MachineOrder]:
    """Return the orders of machines that run, as the studio makes them."""
    return [
        MachineOrder(
            machine=f"m{each}", life=1, start=1, is_running=True, image=IMAGE, hostname="box",
            tenant=f"u{each // OF_A_TENANT}", home=str(each // OF_A_TENANT), secrets=_SECRETS,
            limits=MachineLimits(cpus=1, memory_bytes=2**32), environment={"HF_ENDPOINT": "http://x"},
        )
        for each in range(number)
    ]  # fmt: skip


class MeasuredHost(SimulatedHost):
    """A node's part for machines, at the double: its own code in all that a pass does."""

    def __init__(self, config: NodeConfig, client: StudioClient, socket: Path) -> None:
        root = config.node_dir
        folders = Folders(root / "homes", root / "share", root / "secrets")
        engine = SpareEngine(NODE, folders, host=f"unix://{socket}")
        super().__init__(config, client, engine)
        self.took: dict[str, list[tuple[float, float]]] = {}

    def prepare(self, orders: list[MachineOrder]) -> None:
        """Be a node that has done all that is ordered."""
        self._orders = orders
        self._memory.create()
        for order in orders:
            self._memory.write_done(order.machine, Done(order.life, order.start))
        self._reconcile = self._timed("deeds and readiness", self._reconcile)
        self._meter.look = self._timed("measuring", self._meter.look)

    async def measure_pass(self) -> int:
        """Go once over all machines; return how many are told to be there."""
        begun, spent = time.perf_counter(), time.process_time()
        await self.pass_once()
        self._keep("a pass", begun, spent)
        begun, spent = time.perf_counter(), time.process_time()
        self._report.model_dump_json()
        self._keep("writing the report", begun, spent)
        assert not self._report.problem, self._report.problem
        return len(self._report.machines)

    async def end(self) -> None:
        await self._meter.close()
        self._readiness.close()
        self._reconciler.close()

    def _timed(self, name: str, what: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            begun, spent = time.perf_counter(), time.process_time()
            got = what(*given)
            self._keep(name, begun, spent)
            return got

        return timed

    def _keep(self, name: str, begun: float, spent: float) -> None:
        took = time.perf_counter() - begun, time.process_time() - spent
        self.took.setdefault(name, []).append(took)
        print(name, *(f"{each:.2f}" for each in took), file=sys.stderr, flush=True)


async def measure(folder: Path, socket: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what each part of a pass took: p50 and the most by the clock, p50 of the processor."""
    config = NodeConfig("http://127.0.0.1:1", "node_x", "redis://x", NODE, folder)
    async with StudioClient(config.studio_url) as client:
        host = MeasuredHost(config, client, socket)
        host.prepare(make_orders(options.machines))
        assert await host.measure_pass() == options.machines
        host.took.clear()  # the first has opened ports and written secrets
        for _ in range(options.passes):
            assert await host.measure_pass() == options.machines
            await asyncio.sleep(2)  # measuring is due again
        await host.end()
    told = {}
    for name, took in host.took.items():
        clock, cpu = sorted(each[0] for each in took), sorted(each[1] for each in took)
        told[name] = {
            "p50_s": round(clock[len(clock) // 2], 2), "max_s": round(clock[-1], 2),
            "cpu_p50_s": round(cpu[len(cpu) // 2], 2), "times": len(clock),
        }  # fmt: skip
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--passes", type=int, default=10)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="athanor-pass-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        socket = folder / "docker.sock"
        inside = stack.enter_context(run("sleep", "3600"))
        numbers = (str(options.machines), str(inside.pid))
        stack.enter_context(run(sys.executable, "-m", "bench.docker_double", str(socket), *numbers))
        while not socket.exists():
            time.sleep(0.05)
        told = asyncio.run(measure(folder, socket, options))
    table = Table(
        f"of {options.machines} machines", "p50, s", "most, s", "processor p50, s", "times"
    )
    for name, row in told.items():
        table.add_row(name, *(str(value) for value in row.values()))
    Console(width=120).print(table)
    print(json.dumps({"machines": options.machines, **told}))


if __name__ == "__main__":
    main()
