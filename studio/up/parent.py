"""The parent: starts the parts, starts again what dies, writes their logs, stops all with itself.

Runs are not its children: they are detached on purpose (docs/decisions/006), and `make down`
ends them.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from typing import IO

from studio.up.places import Places

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_STEADY_AFTER_S = 30.0  # a part that lived this long starts again without waiting
_STOP_GRACE_S = 10.0
_LOG_BYTES = 16 * 2**20
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Part:
    """One process under the parent. Its name is its log's name and its key in pids.json."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]


class AlreadyRunning(RuntimeError):
    """Another parent holds this data directory."""


def hold_data_dir(places: Places) -> IO[str]:
    """Take the data directory for this process, for as long as the returned file stays open.

    Raises:
        AlreadyRunning: another living parent has it. A lock of a dead one is simply free.
    """
    lock = places.lock_file.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "of unknown pid"
        raise AlreadyRunning(
            f"Athanor already runs on {places.data_dir} (process {owner}): "
            "use it, stop it with `make down`, or set ATHANOR_DATA to another folder."
        ) from None
    lock.seek(0)
    lock.truncate()
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def die_with_parent() -> None:
    """Run in the child before exec: whatever ends the parent, SIGKILL too, ends the child."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Parent:
    """Keeps parts alive until told to stop."""

    def __init__(self, places: Places, *, verbose: bool) -> None:
        self._places = places
        self._verbose = verbose
        self._pids: dict[str, int] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def start(self, part: Part) -> None:
        """Start a part and keep it alive from now on."""
        self._keepers[part.name] = asyncio.create_task(self._keep(part), name=part.name)

    async def stop(self, *, last: Sequence[str] = ()) -> None:
        """Stop every part, those named in `last` when the others have ended."""
        self._stopping = True
        others = [name for name in self._keepers if name not in last]
        for names in (others, list(last)):
            await self._stop_some([name for name in names if name in self._keepers])
        self._places.pids_file.unlink(missing_ok=True)

    async def _stop_some(self, names: list[str]) -> None:
        tasks = [self._keepers.pop(name) for name in names]
        for name in names:
            self._signal(name, signal.SIGTERM)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=_STOP_GRACE_S)
        for task in late:
            self._signal(task.get_name(), signal.SIGKILL)
        await asyncio.gather(*tasks)

    def _signal(self, name: str, number: signal.Signals) -> None:
        if pid := self._pids.get(name):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    async def _keep(self, part: Part) -> None:
        log = self._open_log(part.name)
        delay_s = _FIRST_DELAY_S
        while not self._stopping:
            begun = time.monotonic()
            try:
                ending = _describe(await self._run_once(part, log))
            except OSError as error:  # no process to be had, say: there may be one later
                ending = str(error)
            if self._stopping:
                break
            if time.monotonic() - begun > _STEADY_AFTER_S:
                delay_s = _FIRST_DELAY_S
            self.say(f"{part.name} ended ({ending}); starting it again")
            await self._pause(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    async def _pause(self, delay_s: float) -> None:
        deadline = time.monotonic() + delay_s
        while not self._stopping and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def _run_once(self, part: Part, log: logging.Logger) -> int:
        process = await asyncio.create_subprocess_exec(
            *part.argv,
            env=part.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the parent alone
            preexec_fn=die_with_parent,
        )
        self._note_pid(part.name, process.pid)
        assert process.stdout is not None
        copying = asyncio.create_task(self._copy_output(part.name, process.stdout, log))
        code = await process.wait()
        self._note_pid(part.name, None)
        # What a part started may hold its output open long after it is gone.
        await asyncio.wait([copying], timeout=1.0)
        copying.cancel()
        return code

    async def _copy_output(
        self, name: str, stream: asyncio.StreamReader, log: logging.Logger
    ) -> None:
        held = b""
        while chunk := await stream.read(65536):
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                self._log_line(name, line, log)
        if held:
            self._log_line(name, held, log)

    def _log_line(self, name: str, line: bytes, log: logging.Logger) -> None:
        text = line.decode(errors="replace")
        log.info(text)
        if self._verbose:
            print(f"{name:>10} | {text}", flush=True)

    def _open_log(self, name: str) -> logging.Logger:
        self._places.log_dir.mkdir(exist_ok=True)
        handler = RotatingFileHandler(
            self._places.log_dir / f"{name}.log", maxBytes=_LOG_BYTES, backupCount=3
        )
        log = logging.Logger(name, level=logging.INFO)  # outside the tree: the lines are the part's
        log.addHandler(handler)
        return log

    def _note_pid(self, name: str, pid: int | None) -> None:
        if pid is None:
            self._pids.pop(name, None)
        else:
            self._pids[name] = pid
        draft = self._places.pids_file.with_suffix(".new")
        try:
            draft.write_text(json.dumps(self._pids))
            os.replace(draft, self._places.pids_file)
        except OSError as error:  # a full disk; the file only tidies up after a killed parent
            self.say(f"{self._places.pids_file} was not written ({error})")

    def say(self, text: str) -> None:
        """Tell the person at the terminal."""
        print(f"athanor: {text}", file=sys.stderr, flush=True)


def _describe(code: int) -> str:
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name
