"""Which process is meant: a pid alone may since belong to another. Linux only, as nodes are."""

import contextlib
import os
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessIdentity:
    """A pid and when that process began; together they are never used twice within one boot."""

    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks since boot."""

    def is_alive(self) -> bool:
        """Say whether this very process still runs; a zombie does not."""
        fields = _read_stat(self.pid)
        return fields is not None and fields[0] not in "ZX" and int(fields[19]) == self.start_ticks

    def send(self, signum: signal.Signals) -> None:
        """Signal this process, unless it has ended."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the process that has this pid now."""
    fields = _read_stat(pid)
    return ProcessIdentity(pid, int(fields[19])) if fields else None


@cache
def read_boot_id() -> str:
    """Return what changes with each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def signal_session(leader: ProcessIdentity, signum: signal.Signals) -> int:
    """Signal every process of the session that `leader` began, even after its end; return how many.

    The kernel gives no new process a number that a session still carries. So when another process
    now has the leader's pid, the old session is empty, and nothing is signalled.
    """
    now = identify(leader.pid)
    if now is not None and now != leader:
        return 0
    return sum(_signal_member(pid, leader.pid, signum) for pid in psutil.pids())


def _signal_member(pid: int, session: int, signum: signal.Signals) -> bool:
    try:
        if os.getsid(pid) != session:
            return False
        os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _read_stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
