"""Runs as plain processes of the node's user, each in a session of its own."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence

import structlog

from engine.specs import Placement
from workers.process_identity import ProcessIdentity, identify, signal_session
from workers.run_dir import RunDir
from workers.runtimes.base import Life
from workers.runtimes.environment import make_environment

log = structlog.get_logger()

_NICE = "5"  # an engine takes every core it is given: the node and a studio beside it go first
_CLOSE_TIMEOUT_S = 60.0


class ProcessRuntime:
    """Starts `python -m engine run RUN_DIR`."""

    name = "process"

    def __init__(
        self,
        engine: Sequence[str] = (sys.executable, "-m", "engine"),
        child: Sequence[str] = (),
    ) -> None:
        """Take the engine's command, and a command to record in place of its own work."""
        self._engine = tuple(engine)
        self._child = ("--", *child) if child else ()
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, run: RunDir, placement: Placement, *, devices: Sequence[int]) -> None:
        """Start the recorder in a new session, so that no signal meant for the node reaches it."""
        with (run.path / "recorder.out").open("ab") as output:
            self._started[run.run_id] = subprocess.Popen(
                ["nice", "-n", _NICE, *self._engine, "run", str(run.path), *self._child],
                cwd=run.path,
                env=self._make_environment(placement, devices),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def look(self, run: RunDir) -> Life:
        """Say whether the recorder lives."""
        child = self._started.get(run.run_id)
        has_ended = child is not None and child.poll() is not None  # also takes leave of the zombie
        if run.was_launched_before_reboot():
            return Life.GONE
        processes = run.read_processes()
        if processes is None:
            return Life.GONE if has_ended else Life.STARTING
        return Life.ALIVE if processes.recorder.is_alive() else Life.GONE

    def signal(self, run: RunDir, signum: signal.Signals) -> None:
        """Stop the run through its recorder, or end all of its processes."""
        if run.was_launched_before_reboot():
            return
        recorder = self._find_recorder(run)
        if recorder is None:
            return
        if signum == signal.SIGKILL:
            signal_session(recorder, signum)
        else:
            recorder.send(signum)

    async def close(self, run: RunDir, reason: str, message: str) -> bool:
        """Have the engine write the last event; it does nothing where one is there."""
        process = await asyncio.create_subprocess_exec(
            *self._engine,
            *("close", str(run.path), f"--reason={reason}", f"--message={message}"),
            env=self._make_environment(Placement(run_dir=run.path)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _CLOSE_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            return False
        if process.returncode:
            log.error(
                "close_failed", run_id=run.run_id, output=output[-500:].decode(errors="replace")
            )
        return process.returncode == 0

    async def clear(self, run: RunDir) -> bool:
        """Do nothing: a process that has ended leaves nothing."""
        return True

    def _make_environment(
        self, placement: Placement, devices: Sequence[int] = ()
    ) -> dict[str, str]:
        return make_environment(placement, devices=devices)

    def _find_recorder(self, run: RunDir) -> ProcessIdentity | None:
        if processes := run.read_processes():
            return processes.recorder
        child = self._started.get(run.run_id)
        return identify(child.pid) if child is not None and child.poll() is None else None
