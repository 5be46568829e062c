"""Whether this node can run engines the way that it was told to, looked at again and again."""

import asyncio

import structlog

from workers.config import NodeConfig
from workers.engines.containers import EngineContainers

log = structlog.get_logger()

CHECK_EVERY_S = 15.0
_ANSWERS_WITHIN_S = 10
_MOST_TOLD = 500
_FIRST_WITHIN_S = 3.0  # then the node is told of, whatever its engine does


class RuntimeCheck:
    """One node's."""

    def __init__(self, config: NodeConfig) -> None:
        """Take what the node was told; nothing is looked at yet."""
        self.runtime = "docker" if config.engine_image else "process"
        self._engine = EngineContainers(config.node_name, config.engine_image)
        self._engine.timeout_s = _ANSWERS_WITHIN_S
        self._first = asyncio.Event()
        self.problem = "The node has not looked at its Docker engine yet."
        """Why no engine can run now, in a sentence; blank where one can."""
        if self.runtime == "process":
            self.problem = ""
            self._first.set()

    async def wait(self) -> None:
        """Wait for the first look, but not for an engine that hangs."""
        try:
            await asyncio.wait_for(self._first.wait(), _FIRST_WITHIN_S)
        except TimeoutError:
            return

    async def look_forever(self) -> None:
        """Look until cancelled."""
        while self.runtime == "docker":
            self._note((await asyncio.to_thread(self._engine.explain))[:_MOST_TOLD])
            self._first.set()
            await asyncio.sleep(CHECK_EVERY_S)

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            if problem:
                log.error("engines_cannot_run", problem=problem)
            else:
                log.info("engines_run_in_containers")
        self.problem = problem
