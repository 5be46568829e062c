"""Carries one script: fills its box, runs its container, hands its words on, says how it ended.

A child of the run's engine process, which is the recorder's: it outlives worker, supervisor and
studio with them. The Docker engine may be away for as long as it likes; where it comes back without
the container, its node has lost the run.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from engine.events import EventBase
from engine.specs import ScriptSpec
from engine.specs.outcome import Outcome
from engine.status import Reason
from workers.files import read_json, write_whole
from workers.machines.firewall import is_firewall_up
from workers.machines.walls import EngineFault
from workers.orders import RunOrder
from workers.scripts.box import Box
from workers.scripts.containers import Ended, ScriptEngine
from workers.scripts.metrics import MetricReader
from workers.scripts.pipe import Pipe, open_event_fd

_LOOK_EVERY_S = 0.4
_POLL_S = 0.1
_WALLS_S = 90.0  # the host of machines lays them within a minute
_START_TRIES = 3
_STOP_GRACE_S = 2.0  # the recorder gives the run four seconds in all
_LIMIT_GRACE_S = 10.0
_MOST_ASKED = 3  # a word to stop is not queued behind a look that hangs

T = TypeVar("T")


class Carrier:
    """One run's."""

    def __init__(self, run_dir: Path, engine: ScriptEngine, *, drives: Path | None) -> None:
        """Take the run's folder and who is asked for its container."""
        self._run_dir, self._engine, self._drives = run_dir, engine, drives
        self._box = Box(run_dir)
        self._order = RunOrder.model_validate_json((run_dir / "order.json").read_bytes())
        self._events = open_event_fd()
        self._asking = ThreadPoolExecutor(_MOST_ASKED)
        self._reader = MetricReader()
        self._is_stopped = False
        self._was_away = False
        self._kill_at = float("inf")
        self._end: Outcome | None = None

    def carry(self) -> None:
        """Do it all. Raises nothing that the run's owner or the operator could mend."""
        signal.signal(signal.SIGTERM, self._on_stop)
        try:
            outcome = self._try_carry()
        except (EngineFault, OSError) as error:
            outcome = Outcome(reason=Reason.LAUNCH_FAILED, message=str(error))
        self._clean()
        data = outcome.model_dump_json().encode()
        write_whole(self._run_dir / "outcome.json", data)

    def _try_carry(self) -> Outcome:
        assert self._order.container is not None and isinstance(self._order.spec, ScriptSpec)
        self._await_walls()
        owner = self._engine.prepare(self._order.container)
        inputs = read_json(self._run_dir / "inputs.json") or {}
        mounts = self._box.fill(inputs, owner=owner, drive=self._find_drive(owner))
        log, metrics = Pipe(self._box.log), Pipe(self._box.metrics)
        container = self._start(mounts)
        limit_s = self._order.spec.time_limit_minutes * 60
        ended = self._follow(container, log, metrics, time.monotonic() + limit_s)
        self._hand_on(log, metrics)  # nobody is left to write
        self._tell_bad_lines()
        return self._end or self._judge(ended)

    def _on_stop(self, number: int, frame: object) -> None:
        self._is_stopped = True

    def _await_walls(self) -> None:
        """Wait for the node's packet filter: without it a script would reach what it must not."""
        deadline = time.monotonic() + _WALLS_S
        while not is_firewall_up():
            if time.monotonic() > deadline or self._is_stopped:
                raise EngineFault(
                    "The node's packet filter is not laid, so no script may start: is its "
                    "`python -m workers machines` running?"
                )
            time.sleep(_POLL_S)

    def _find_drive(self, owner: int) -> Path | None:
        assert self._order.container is not None
        name = self._order.container.home
        if name is None:
            return None
        if self._drives is None:
            raise EngineFault("ATHANOR_DRIVE_DIR is not set: write the studio's folder of drives.")
        home = self._drives / name / "home"
        if not home.is_dir() or home.is_symlink():
            raise EngineFault(f"The drive {name} is not on this node.")
        if home.stat().st_uid != owner:
            raise EngineFault(
                f"The drive {name} does not belong to the containers' root: set "
                f"STUDIO_DRIVE_OWNER={owner} for the studio, and `chown -R` the drives to it."
            )
        return home

    def _start(self, mounts: dict[str, Path]) -> str:
        """Start the container; its network may be removed as idle in the same moment."""
        for left in reversed(range(_START_TRIES)):
            try:
                return self._engine.start(self._order, self._box, mounts)
            except EngineFault:
                self._engine.remove(self._order.run_id)
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _follow(self, container: str, log: Pipe, metrics: Pipe, ends_at: float) -> Ended:
        poller = select.poll()
        for pipe in (log, metrics):
            poller.register(pipe.fd, select.POLLIN)
        look_at, look = 0.0, self._ask(lambda: self._engine.look(container))
        while True:
            poller.poll(_POLL_S * 1000)
            self._hand_on(log, metrics)
            now = time.monotonic()
            self._heed(container, now, ends_at)
            if look.done() and now >= look_at:
                if (ended := look.result()) is not None:
                    return ended
                look_at, look = now + _LOOK_EVERY_S, self._ask(lambda: self._engine.look(container))

    def _heed(self, container: str, now: float, ends_at: float) -> None:
        """End the container where it is to be: first by word, then by force."""
        if self._kill_at == float("inf") and (self._is_stopped or now >= ends_at):
            if self._is_stopped:
                self._end = Outcome(reason=Reason.STOPPED_BY_OWNER, message="The run was stopped.")
            else:
                self._end = _say_limit(self._order.spec)
            self._kill_at = now + (_STOP_GRACE_S if self._is_stopped else _LIMIT_GRACE_S)
            self._ask(lambda: self._engine.send(container, "SIGTERM"))
        elif now >= self._kill_at:
            self._kill_at = now + 1.0  # until it is gone
            self._ask(lambda: self._engine.send(container, "SIGKILL"))
        elif self._is_stopped and self._kill_at > now + _STOP_GRACE_S:
            self._kill_at = now  # asked to stop while its time's end is being kept

    def _ask(self, ask: Callable[[], T | None]) -> Future[T | None]:
        """Ask beside: an engine that hangs must not keep the script's words waiting."""
        return self._asking.submit(self._try, ask)

    def _try(self, ask: Callable[[], T | None]) -> T | None:
        """Ask the engine; while it is away nothing is known, and nothing is lost."""
        try:
            return ask()
        except EngineFault:
            self._was_away = True
            return None

    def _hand_on(self, log: Pipe, metrics: Pipe) -> None:
        for data in log.read():
            _write(1, data)
        for data in metrics.read():
            for event in self._reader.feed(data):
                self._emit(event)

    def _emit(self, event: EventBase) -> None:
        if self._events is not None:
            body = event.model_dump_json(exclude={"seq", "time"}, exclude_none=True)
            _write(self._events, body.encode() + b"\n")

    def _tell_bad_lines(self) -> None:
        if self._reader.num_bad:
            words = (
                f"{self._reader.num_bad} lines in $ATHANOR_METRICS were no JSON objects of numbers"
            )
            _write(1, words.encode() + b"\n")

    def _judge(self, ended: Ended) -> Outcome:
        assert self._order.container is not None
        code = ended.exit_code
        if code == 0:
            return Outcome(exit_code=0)
        if ended.was_out_of_memory:
            limit = self._order.container.limits.memory_bytes / 2**30
            message = (
                f"The script used more than the {limit:.2f} GiB of memory that it may: use less, "
                "or take a flavor with more memory."
            )
            return Outcome(exit_code=code, reason=Reason.OUT_OF_MEMORY, message=message)
        if self._was_away:
            message = "The node's Docker engine went away and took the run along; retry the job."
            return Outcome(exit_code=code, reason=Reason.NODE_LOST, message=message)
        if ended.is_gone:
            message = "The script's container was removed on its node; retry the job."
            return Outcome(exit_code=code, reason=Reason.NODE_LOST, message=message)
        message = f"The script ended with exit status {code}; the end of the log may say why."
        return Outcome(exit_code=code, reason=Reason.CRASHED, message=message)

    def _clean(self) -> None:
        """Remove the container; where the engine is away, the supervisor does it later."""
        self._try(lambda: self._engine.remove(self._order.run_id))
        with contextlib.suppress(OSError):  # the supervisor clears again
            self._box.clear()


def _say_limit(spec: object) -> Outcome:
    assert isinstance(spec, ScriptSpec)
    message = (
        f"The time limit of {spec.time_limit_minutes} minutes was reached: raise it, or have the "
        "script go on from what it has saved."
    )
    return Outcome(reason=Reason.TIME_LIMIT, message=message)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
