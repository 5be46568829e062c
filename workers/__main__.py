"""`python -m workers supervise`, `report`, `keep` and `machines`: the node's long processes.

The fifth, the queue's consumer, is Celery's own: `celery -A workers.app worker`.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from workers.config import NodeConfig, read_config
from workers.errors import WorkerError
from workers.files import hold_lock
from workers.keeper import Keeper
from workers.logs import configure_logs
from workers.machines.host import MachineHost
from workers.node_dir import NodeDir
from workers.reporter import Reporter
from workers.runtimes.process import ProcessRuntime
from workers.studio_client import StudioClient
from workers.supervisor import Supervisor


async def supervise(config: NodeConfig) -> None:
    """Work as the node's supervisor until told to end."""
    async with StudioClient(config.studio_url) as client:
        await _run_until_told(Supervisor(config, ProcessRuntime(), client).run())


async def report(config: NodeConfig) -> None:
    """Work as the node's reporter until told to end."""
    async with StudioClient(config.studio_url) as client:
        await _run_until_told(Reporter(NodeDir(config.node_dir), ProcessRuntime(), client).run())


async def keep(config: NodeConfig) -> None:
    """Work as the node's keeper until told to end."""
    async with StudioClient(config.studio_url) as client:
        await _run_until_told(Keeper(config, client).run())


async def host_machines(config: NodeConfig) -> None:
    """Work as the node's host of dev machines until told to end."""
    async with StudioClient(config.studio_url) as client:
        await _run_until_told(MachineHost(config, client).run())


async def _run_until_told(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


_PROCESSES: dict[str, tuple[str, Callable[[NodeConfig], Coroutine[Any, Any, None]]]] = {
    "supervise": ("supervisor", supervise),
    "report": ("reporter", report),
    "keep": ("keeper", keep),
    "machines": ("machines", host_machines),
}


def main() -> int:
    """Read the settings, take the lock, and work."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("process", choices=sorted(_PROCESSES))
    process = parser.parse_args().process
    name, work = _PROCESSES[process]
    configure_logs(name)
    try:
        config = read_config()
        NodeDir(config.node_dir).create()
        with hold_lock(config.node_dir / f"{process}.lock", process):
            asyncio.run(work(config))
    except WorkerError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
