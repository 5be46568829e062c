"""The supervisor: starts what was ordered, once; cares for what runs; keeps the node known.

It remembers nothing that the node's folder does not say: it may be killed at any moment.
It is not the queue's consumer (workers/app.py) and sends no events (workers/reporter.py).
"""

import asyncio
import json
import shutil
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from workers.care import Need, RunView, decide, explain_end
from workers.config import NodeConfig
from workers.engines.check import RuntimeCheck
from workers.errors import StudioAway, StudioRefused
from workers.inventory import take_inventory
from workers.launch import claim, is_expired, place, refuse, start
from workers.node_dir import NodeDir
from workers.orders import OrderHead, RunOrder
from workers.run_dir import RunDir
from workers.runtimes.base import Life, Runtime
from workers.runtimes.docker import DockerRuntime
from workers.studio_client import StudioClient

log = structlog.get_logger()

LOOK_EVERY_S = 0.1
HEARTBEAT_EVERY_S = 5.0
SWEEP_EVERY_S = 600.0
CLAIM_AGAIN_S = 1.0
RETRY_S = 5.0
KEEP_S = 7 * 86_400.0  # a week in which a run can be resumed from its checkpoints
KEEP_FULL_S = 86_400.0  # a day, on a disk that fills up
FULL_SHARE = 0.9


class Supervisor:
    """One node's supervisor."""

    def __init__(
        self,
        config: NodeConfig,
        runtime: Runtime,
        client: StudioClient,
        containers: Runtime | None = None,
    ) -> None:
        """Take what it works with; `run` begins. `containers` is for what runs in one."""
        self.node = NodeDir(config.node_dir)
        self._config = config
        self._runtime = runtime
        self._containers = containers or DockerRuntime(config.node_name)
        self._client = client
        self._check = RuntimeCheck(config)
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._terminated: dict[str, float] = {}
        self._runtimes: dict[str, Runtime] = {}

    async def run(self) -> None:
        """Work until cancelled. Runs go on then."""
        self.node.create()
        self.node.tidy()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever())
            group.create_task(self._check.look_forever())
            group.create_task(self._beat_forever())
            group.create_task(self._sweep_forever())

    async def _look_forever(self) -> None:
        while True:
            self.look_once()
            await asyncio.sleep(LOOK_EVERY_S)

    def look_once(self) -> None:
        """Give every order and every run what it needs next; what takes time goes on beside."""
        self._reap_busy()
        for path in self.node.list_orders():
            if path.stem not in self._busy:
                self._begin(path.stem, self._take_order(path.stem))
        for run in self.node.list_active():
            if run.run_id not in self._busy:
                self._try_care(run)

    def _begin(self, run_id: str, work: Coroutine[Any, Any, None]) -> None:
        self._busy[run_id] = asyncio.create_task(work, name=run_id)

    def _reap_busy(self) -> None:
        for run_id, task in list(self._busy.items()):
            if task.done():
                del self._busy[run_id]
                if error := task.exception():  # a full disk, say
                    log.error("care_failed", run_id=run_id, exc_info=error)
                    self._begin(run_id, asyncio.sleep(RETRY_S))

    async def _take_order(self, run_id: str) -> None:
        path = self.node.orders / f"{run_id}.json"
        try:
            order = RunOrder.model_validate_json(path.read_bytes())
        except ValidationError as error:
            log.error("order_unreadable", run_id=run_id, error=str(error))
            await self._refuse(path, error)
            return
        if self.node.find_run(run_id) is None:
            may_start = await self._claim_in_time(order)
            if may_start:
                run = place(self.node, self._config, order)
                start(run, self._runtime_at(run))
        path.unlink(missing_ok=True)

    async def _refuse(self, path: Path, problem: ValidationError) -> None:
        """Have the studio end a run whose order cannot be read here, and drop the order."""
        try:
            order = OrderHead.model_validate_json(path.read_bytes())
        except ValidationError:
            path.unlink()  # it does not even say whose it is
            return
        if self.node.find_run(order.run_id) is None:
            while not is_expired(order, time.time()):
                if await refuse(self._client, order, problem):
                    break
                await asyncio.sleep(CLAIM_AGAIN_S)
        path.unlink(missing_ok=True)

    async def _claim_in_time(self, order: RunOrder) -> bool:
        while not is_expired(order, time.time()):
            may_start = await claim(self._client, order)
            if may_start is not None:
                return may_start
            await asyncio.sleep(CLAIM_AGAIN_S)
        log.warning("order_expired", run_id=order.run_id)
        return False

    def view(self, run: RunDir) -> RunView:
        """Look at a run. Its life is read first: what is gone writes nothing any more."""
        launched = run.read_launch_time()
        life = None if launched is None else self._look(run)
        terminated = self._terminated.get(run.run_id)
        return RunView(
            life=life,
            launched_s=0.0 if launched is None else time.time() - launched,
            has_recorder=run.read_processes() is not None,
            is_final=life is not Life.ALIVE and run.is_final(),
            is_reported=run.is_reported(),
            stop=run.read_stop(),
            terminated_s=None if terminated is None else time.monotonic() - terminated,
        )

    def _look(self, run: RunDir) -> Life:
        return self._runtime_at(run).look(run)

    def _runtime_at(self, run: RunDir) -> Runtime:
        """Return what a run was placed for, whatever the node is told today."""
        if run.run_id not in self._runtimes:
            placement = run.read_placement()
            is_apart = placement is not None and bool(placement.carrier)
            self._runtimes[run.run_id] = self._containers if is_apart else self._runtime
        return self._runtimes[run.run_id]

    def _try_care(self, run: RunDir) -> None:
        try:
            self._care(run)
        except (OSError, ValueError):  # of this run's folder: a full disk, a file that is none
            log.exception("care_failed", run_id=run.run_id)
            self._begin(run.run_id, asyncio.sleep(RETRY_S))

    def _care(self, run: RunDir) -> None:
        view = self.view(run)
        need = decide(view)
        if need is Need.TERMINATE:
            log.info("run_stopping", run_id=run.run_id)
            self._terminated[run.run_id] = time.monotonic()
            self._runtime_at(run).signal(run, signal.SIGTERM)
        elif need is Need.KILL:
            self._runtime_at(run).signal(run, signal.SIGKILL)
        elif need is Need.LAUNCH:
            self._begin(run.run_id, self._launch_again(run))
        elif need is Need.CLOSE:
            self._begin(run.run_id, self._close(run, view))
        elif need is Need.SHELVE:
            self._begin(run.run_id, self._shelve(run))

    async def _shelve(self, run: RunDir) -> None:
        if await self._runtime_at(run).clear(run):
            self._terminated.pop(run.run_id, None)
            self._runtimes.pop(run.run_id, None)
            self.node.shelve_run(run)
        else:
            await asyncio.sleep(RETRY_S)

    async def _launch_again(self, run: RunDir) -> None:
        order = run.read_order()
        if order is not None and await self._claim_in_time(order):
            start(run, self._runtime_at(run))
        else:  # never started, and not wanted any more
            self.node.shelve_run(run)
            shutil.rmtree(run.path)

    async def _close(self, run: RunDir, view: RunView) -> None:
        reason, message = explain_end(view, was_rebooted=run.was_launched_before_reboot())
        runtime = self._runtime_at(run)
        runtime.signal(run, signal.SIGKILL)  # what the recorder left behind
        log.warning("run_abandoned", run_id=run.run_id, reason=reason.value)
        if not await runtime.close(run, reason.value, message):
            await asyncio.sleep(RETRY_S)
            return
        await runtime.clear(run)  # and again when it is shelved

    async def _beat_forever(self) -> None:
        await self._check.wait()
        while True:
            await self._beat()
            await asyncio.sleep(HEARTBEAT_EVERY_S)

    async def _beat(self) -> None:
        living = [run.run_id for run in self.node.list_active() if self._is_living(run)]
        inventory = take_inventory(
            self.node.path, mock_devices=self._config.mock_devices
        ).model_dump(mode="json")
        runtime = {
            "runtime": self._check.runtime,
            "runtime_problem": self._check.problem,
            "runtime_notice": self._check.notice,
        }
        body = json.dumps(inventory | runtime | {"runs": living}).encode()
        try:
            answer = await self._client.send_heartbeat(self._config.node_token, body)
        except (StudioAway, StudioRefused) as error:
            log.warning("heartbeat_failed", error=str(error))
            return
        if answer.name != self._config.node_name:
            log.error(
                "token_of_another_node", token_of=answer.name, configured=self._config.node_name
            )

    def _is_living(self, run: RunDir) -> bool:
        return run.read_launch_time() is not None and self._look(run) is Life.ALIVE

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.to_thread(self.sweep)
            await asyncio.sleep(SWEEP_EVERY_S)

    def sweep(self) -> None:
        """Delete the runs that ended long ago. What the studio has not heard out never is."""
        usage = shutil.disk_usage(self.node.path)
        keep_s = KEEP_FULL_S if usage.used / usage.total > FULL_SHARE else KEEP_S
        for run in self.node.list_shelved():
            try:
                if time.time() - run.path.stat().st_mtime > keep_s:
                    shutil.rmtree(run.path)
                    log.info("run_swept", run_id=run.run_id)
            except OSError as error:  # removed in this moment, or not removable: the others are
                log.error("sweep_failed", run_id=run.run_id, error=str(error))
