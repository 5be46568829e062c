"""The reporter: carries each run's events up, in order, until the studio has all; stop wishes down.

Its memory is the studio's `next_seq`: after any crash it asks once and goes on from there. A wish
to stop goes into the run's folder, where the supervisor finds it: the reporter itself ends a run
only where that folder takes no file.
"""

import asyncio
import signal
import time

import structlog

from engine.status import Reason
from workers.errors import StudioAway, StudioRefused
from workers.follower import Follower, Line, as_log, make_body
from workers.node_dir import NodeDir
from workers.orders import RunOrder
from workers.run_dir import RunDir, StopWish, is_final_line
from workers.runtimes.base import Life, Runtime
from workers.studio_client import EventsAnswer, StudioClient

log = structlog.get_logger()

POLL_EVERY_S = 0.04  # a new line leaves within 100 ms
SCAN_EVERY_S = 0.1
PROOF_EVERY_S = 1.0
BACKOFF_FIRST_S = 0.1
BACKOFF_MOST_S = 2.0
DISK_AGAIN_S = 5.0
REFUSED_AGAIN_S = 5.0
REFUSED_LIMIT_S = (
    600.0  # a studio restored from backup has ten minutes before unknown runs are ended
)
_BAD_BATCH = 400
_TOO_LARGE = 413


class RunReporter:
    """Reports one run."""

    def __init__(
        self, run: RunDir, order: RunOrder, client: StudioClient, runtime: Runtime
    ) -> None:
        """Take the run, and what tells whether it lives."""
        self._run = run
        self._token = order.run_token
        self._client = client
        self._runtime = runtime
        self._was_terminated = False
        self._follower = Follower(run.events_path)
        self._batch_limit: int | None = 0  # the first batch is empty: it asks where to begin
        self._as_log_seq: int | None = None
        self._refused_since: float | None = None
        self._backoff_s = BACKOFF_FIRST_S

    async def run(self) -> None:
        """Report until the studio has the final event, or will never take it."""
        while True:
            try:
                return await self._report()
            except OSError as error:  # of this run's folder: a full disk, say
                log.error("report_failed", run_id=self._run.run_id, error=str(error))
                await asyncio.sleep(DISK_AGAIN_S)

    async def _report(self) -> None:
        posted = 0.0
        while True:
            lines = self._next_lines()
            if not lines and time.monotonic() - posted < PROOF_EVERY_S:
                await asyncio.sleep(POLL_EVERY_S)
                continue
            posted = time.monotonic()
            if await self._post(lines):
                return

    def _next_lines(self) -> list[Line]:
        if self._batch_limit is None:
            return self._follower.peek()
        lines = self._follower.peek(max_events=self._batch_limit)
        is_odd = len(lines) == 1 and lines[0].seq == self._as_log_seq
        return [as_log(lines[0], time.time())] if is_odd else lines

    async def _post(self, lines: list[Line]) -> bool:
        """Post one batch; say whether nothing more is to be reported."""
        body = make_body(lines, now=time.time(), alive=self._is_alive())
        try:
            answer = await self._client.post_events(self._run.run_id, self._token, body)
        except StudioAway as error:
            log.warning("studio_away", run_id=self._run.run_id, error=str(error))
            await self._back_off()
            return False
        except StudioRefused as error:
            return await self._bear_refusal(error, lines)
        if lines and answer.next_seq <= lines[0].seq:  # it took nothing: do not press it
            await self._back_off()
        else:
            self._backoff_s = BACKOFF_FIRST_S
        return self._accept(answer, lines)

    def _accept(self, answer: EventsAnswer, lines: list[Line]) -> bool:
        self._refused_since = self._batch_limit = None
        if answer.stop is not None:
            self._pass_on(answer.stop)
        if lines and answer.next_seq == lines[-1].seq + 1:
            self._follower.pass_line(lines[-1])
        elif not self._follower.seek(answer.next_seq):
            log.error("studio_is_ahead", run_id=self._run.run_id, next_seq=answer.next_seq)
        return self._mark_if_done(answer.next_seq)

    def _pass_on(self, wish: StopWish) -> None:
        try:
            if self._run.wish_stop(wish):
                log.info("stop_wished", run_id=self._run.run_id, reason=wish.reason.value)
        except OSError as error:  # a full disk, and this run may be what fills it: end it unwritten
            log.error("stop_not_written", run_id=self._run.run_id, error=str(error))
            if not self._was_terminated:
                self._was_terminated = True
                self._runtime.signal(self._run, signal.SIGTERM)

    def _is_alive(self) -> bool:
        return self._runtime.look(self._run) is not Life.GONE

    def _mark_if_done(self, next_seq: int) -> bool:
        is_final = self._run.is_final()  # first: what is final grows no more
        if not is_final or self._follower.peek(max_events=1):
            return False
        self._run.mark_reported(next_seq)
        log.info("run_reported", run_id=self._run.run_id, num_events=next_seq)
        return True

    async def _back_off(self) -> None:
        await asyncio.sleep(self._backoff_s)
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MOST_S)

    async def _bear_refusal(self, error: StudioRefused, lines: list[Line]) -> bool:
        log.error("batch_refused", run_id=self._run.run_id, error=str(error), num_events=len(lines))
        if error.status in (_BAD_BATCH, _TOO_LARGE) and self._isolate(lines):
            return False
        await asyncio.sleep(REFUSED_AGAIN_S)
        now = time.monotonic()
        self._refused_since = self._refused_since or now
        return now - self._refused_since > REFUSED_LIMIT_S and self._give_up()

    def _isolate(self, lines: list[Line]) -> bool:
        """Narrow a refused batch to one event, then send that as log; False when all was tried."""
        if len(lines) > 1:
            self._batch_limit = 1
            return True
        if not lines or lines[0].seq == self._as_log_seq or is_final_line(lines[0].data):
            return False
        self._batch_limit, self._as_log_seq = 1, lines[0].seq
        return True

    def _give_up(self) -> bool:
        """End a run the studio will not hear of; true once it has ended."""
        message = "The studio does not know this run any more."
        self._run.wish_stop(StopWish(reason=Reason.STOPPED_BY_OPERATOR, message=message))
        if self._is_alive() or not self._run.is_final():
            return False
        self._run.mark_reported(self._follower.seq)
        return True


class Reporter:
    """Reports every run of the node."""

    def __init__(self, node: NodeDir, runtime: Runtime, client: StudioClient) -> None:
        """Take the node's folder; `run` begins."""
        self._node = node
        self._runtime = runtime
        self._client = client
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        self._node.create()
        async with asyncio.TaskGroup() as group:
            while True:
                self._tasks = {id_: task for id_, task in self._tasks.items() if not task.done()}
                for run in self._node.list_active():
                    if run.run_id not in self._tasks and (order := self._find_order(run)):
                        work = RunReporter(run, order, self._client, self._runtime).run()
                        self._tasks[run.run_id] = group.create_task(work)
                await asyncio.sleep(SCAN_EVERY_S)

    def _find_order(self, run: RunDir) -> RunOrder | None:
        """Return the order of a run that was launched and is not reported."""
        if run.read_launch_time() is None or run.is_reported():
            return None
        return run.read_order()
