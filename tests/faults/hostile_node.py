"""A node's supervisor as it is, but for the engine: its runs are done by hostile_engine.py."""

import asyncio
import sys
from pathlib import Path

from workers.config import read_config
from workers.logs import configure_logs
from workers.runtimes.process import ProcessRuntime
from workers.studio_client import StudioClient
from workers.supervisor import Supervisor

ENGINE = str(Path(__file__).with_name("hostile_engine.py"))


async def supervise() -> None:
    config = read_config()
    async with StudioClient(config.studio_url) as client:
        await Supervisor(config, ProcessRuntime(child=(sys.executable, ENGINE)), client).run()


if __name__ == "__main__":
    configure_logs("supervisor")
    asyncio.run(supervise())
