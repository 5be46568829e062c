"""Carries the work of one run in a container: starts it, hands its words on, says how it ended.

A child of the run's engine process, which is the recorder's: it outlives worker, supervisor and
studio with them. The Docker engine may be away for as long as it likes; where it comes back without
the container, its node has lost the run. What runs in the container, subclasses say.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from engine.sentences import RUN_SENTENCES
from engine.specs.outcome import Outcome
from engine.status import Reason
from workers.files import write_whole
from workers.machines.walls import EngineFault
from workers.orders import RunOrder
from workers.scripts.box import Box
from workers.scripts.containers import Ended, RunEngine
from workers.scripts.pipe import Pipe, open_event_fd

_LOOK_EVERY_S = 0.4
_LOOK_SOON_S = 0.1  # while it is being ended
_POLL_S = 0.1
_LIMIT_GRACE_S = 10.0
_TOLD_WITHIN_S = 12.0  # an engine gives its containers ten seconds to end
_MOST_ASKED = 3  # a word to stop is not queued behind a look that hangs
_NEVER = float("inf")
_TERMINATED, KILLED = 143, 137
"""Exit statuses after SIGTERM and SIGKILL."""

T = TypeVar("T")


class RunCarrier:
    """One run's."""

    stop_grace_s = 2.0
    """Between SIGTERM and SIGKILL; the recorder gives the run four seconds in all."""
    what = "container"
    """What a sentence calls the work."""

    def __init__(self, run_dir: Path, engine: RunEngine, box: Box) -> None:
        """Take the run's folder, who is asked for its container, and what that is shown."""
        self._run_dir, self._engine, self._box = run_dir, engine, box
        self._order = RunOrder.model_validate_json((run_dir / "order.json").read_bytes())
        self._events = open_event_fd()
        self._asking = ThreadPoolExecutor(_MOST_ASKED)
        self._is_stopped = False
        self._was_away = False
        self._kill_at = _NEVER
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

    # What each sort of run says of its own: scripts and engines.

    def fill(self) -> None:
        """Lay out what the container is shown, its pipes among it."""
        raise NotImplementedError

    def start(self) -> str:
        """Make the container and start it; return its id."""
        raise NotImplementedError

    def hear(self, data: bytes) -> None:
        """Take what came out of the second pipe."""
        raise NotImplementedError

    def conclude(self) -> None:
        """Say what is left to say, once nothing comes any more."""

    def judge(self, ended: Ended) -> Outcome:
        """Say how it ended, from what the engine says of the container."""
        raise NotImplementedError

    def find_limit(self) -> tuple[float, str]:
        """Return after how many seconds it is ended, and the sentence that is said then."""
        return _NEVER, ""

    # What all have.

    def _try_carry(self) -> Outcome:
        self.fill()
        log, second = Pipe(self._box.log), Pipe(self._box.second)
        container = self.start()
        ended = self._look_again(container, self._follow(container, log, second))
        self._hand_on(log, second)  # nobody is left to write
        self.conclude()
        return self._end or self.judge(ended)

    def _on_stop(self, number: int, frame: object) -> None:
        self._is_stopped = True

    def _follow(self, container: str, log: Pipe, second: Pipe) -> Ended:
        poller = select.poll()
        for pipe in (log, second):
            poller.register(pipe.fd, select.POLLIN)
        ends_at = time.monotonic() + self.find_limit()[0]
        look_at, look = 0.0, self._ask(lambda: self._engine.look(container))
        while True:
            poller.poll(_POLL_S * 1000)
            self._hand_on(log, second)
            now = time.monotonic()
            self._heed(container, now, ends_at)
            if look.done() and now >= look_at:
                if (ended := look.result()) is not None:
                    return ended
                wait_s = _LOOK_EVERY_S if self._kill_at == _NEVER else _LOOK_SOON_S
                look_at, look = now + wait_s, self._ask(lambda: self._engine.look(container))

    def _look_again(self, container: str, ended: Ended) -> Ended:
        """Tell one that ended by itself from one that is being removed, or whose engine is going.

        Both end it by a signal first, and answer for a moment yet.
        """
        was_signalled = ended.exit_code in {KILLED, _TERMINATED} and not ended.was_out_of_memory
        deadline = time.monotonic() + _TOLD_WITHIN_S
        while was_signalled and self._end is None and not (ended.is_gone or self._was_away):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
            ended = self._try(lambda: self._engine.look(container)) or ended
        return ended

    def _heed(self, container: str, now: float, ends_at: float) -> None:
        """End the container where it is to be: first by word, then by force."""
        if self._kill_at == _NEVER and (self._is_stopped or now >= ends_at):
            if self._is_stopped:
                self._end = Outcome(
                    reason=Reason.STOPPED_BY_OWNER, message=RUN_SENTENCES.say("run_stopped")
                )
            else:
                self._end = Outcome(reason=Reason.TIME_LIMIT, message=self.find_limit()[1])
            self._kill_at = now + (self.stop_grace_s if self._is_stopped else _LIMIT_GRACE_S)
            self._ask(lambda: self._engine.send(container, "SIGTERM"))
        elif now >= self._kill_at:
            self._kill_at = now + 1.0  # until it is gone
            self._ask(lambda: self._engine.send(container, "SIGKILL"))
        elif self._is_stopped and self._kill_at > now + self.stop_grace_s:
            self._kill_at = now  # asked to stop while its time's end is being kept

    def _ask(self, ask: Callable[[], T | None]) -> Future[T | None]:
        """Ask beside: an engine that hangs must not keep the run's words waiting."""
        return self._asking.submit(self._try, ask)

    def _try(self, ask: Callable[[], T | None]) -> T | None:
        """Ask the engine; while it is away nothing is known, and nothing is lost."""
        try:
            return ask()
        except EngineFault:
            self._was_away = True
            return None

    def _hand_on(self, log: Pipe, second: Pipe) -> None:
        for data in log.read():
            self.say(data)
        for data in second.read():
            self.hear(data)

    def say(self, data: bytes) -> None:
        """Write into the run's log."""
        _write(1, data)

    def emit(self, lines: Sequence[bytes]) -> None:
        """Hand events on, a JSON line each."""
        if self._events is not None and lines:
            _write(self._events, b"".join(line + b"\n" for line in lines))

    def _judge_container(self, ended: Ended) -> Outcome | None:
        """Say what became of the container, where it did not end by what was done in it."""
        if self._was_away:
            message = RUN_SENTENCES.say("engine_took_run")
        elif ended.is_gone:
            message = RUN_SENTENCES.say("container_removed", what=self.what)
        else:
            return None
        return Outcome(exit_code=ended.exit_code, reason=Reason.NODE_LOST, message=message)

    def _clean(self) -> None:
        """Remove the container; where the engine is away, the supervisor does it later."""
        self._try(lambda: self._engine.remove(self._order.run_id))
        with contextlib.suppress(OSError):  # the supervisor clears again
            self._box.clear()


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
