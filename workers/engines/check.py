"""Whether this node can run engines the way that it was told to, looked at again and again."""

import asyncio

import structlog

from workers.config import NodeConfig
from workers.engines.containers import EngineContainers
from workers.inventory import read_version
from workers.machines.walls import EngineFault
from workers.sentences import NODE_SENTENCES

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
        self.problem = NODE_SENTENCES.say("engine_not_looked_at")
        """Why no engine can run now, in a sentence; blank where one can."""
        self.notice = ""
        """What is not as it should be though engines can run, in a sentence; blank where all is."""
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
            self._note(await asyncio.to_thread(self._look))
            self._first.set()
            await asyncio.sleep(CHECK_EVERY_S)

    def _look(self) -> str:
        """Return the problem; where there is none, the engine is compared with the node."""
        if problem := self._engine.explain():
            self.notice = ""
            return problem[:_MOST_TOLD]
        try:
            self.notice = self._engine.compare(read_version())[:_MOST_TOLD]
        except EngineFault as error:
            return str(error)[:_MOST_TOLD]
        return ""

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            if problem:
                log.error("engines_cannot_run", problem=problem)
            else:
                log.info("engines_run_in_containers")
        self.problem = problem
