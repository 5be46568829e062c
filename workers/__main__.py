"""`python -m workers supervise` and `python -m workers report`: the node's two long processes.

The third, the queue's consumer, is Celery's own: `celery -A workers.app worker`.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from workers.config import NodeConfig, read_config
from workers.errors import WorkerError
from workers.files import hold_lock
from workers.logs import configure_logs
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


async def _run_until_told(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Read the settings, take the lock, and work."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("process", choices=["supervise", "report"])
    process = parser.parse_args().process
    configure_logs({"supervise": "supervisor", "report": "reporter"}[process])
    try:
        config = read_config()
        NodeDir(config.node_dir).create()
        with hold_lock(config.node_dir / f"{process}.lock", process):
            asyncio.run(supervise(config) if process == "supervise" else report(config))
    except WorkerError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
