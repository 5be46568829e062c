"""Runs whose work is in a container: users' scripts, and on nodes that are told so, engines.

The recorder stays outside, where the work cannot reach it: it needs nothing of the image, what it
writes is the run's record and not the work's, and it lives on without the Docker engine. So a run
is looked at, stopped and adopted as a process; what may be left behind is its container.
"""

import asyncio
import os
from collections.abc import Sequence

import structlog

from engine.specs import Placement
from workers.machines.walls import EngineFault
from workers.run_dir import RunDir
from workers.runtimes.process import ProcessRuntime
from workers.scripts.box import Box
from workers.scripts.containers import RunEngine

log = structlog.get_logger()

_DOCKER = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


class DockerRuntime(ProcessRuntime):
    """Starts recorders whose engine has the node make a container."""

    name = "docker"

    def __init__(self, node: str) -> None:
        """Take the node's name, which its containers carry."""
        super().__init__()
        self._docker = RunEngine(node)

    async def clear(self, run: RunDir) -> bool:
        """Remove the run's container and what it was shown; False while the engine is away."""
        try:
            await asyncio.to_thread(self._docker.remove, run.run_id)
            Box(run.path).close()
        except (EngineFault, OSError) as error:
            log.warning("container_left", run_id=run.run_id, error=str(error))
            return False
        return True

    def _make_environment(
        self, placement: Placement, devices: Sequence[int] = ()
    ) -> dict[str, str]:
        known = {name: os.environ[name] for name in _DOCKER if name in os.environ}
        return super()._make_environment(placement, devices) | known
