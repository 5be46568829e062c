"""The recorder's view of Linux processes: start the engine, watch its memory, end it for good.

Not a supervisor: it knows one child, and does not outlive it.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def start_child(
    command: Sequence[str], *, log_fd: int, event_fd: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start the engine in its own process group; it dies with this process.

    Raises:
        OSError: the command cannot be started.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=[event_fd],
        process_group=0,
        env=environment,
        preexec_fn=die_with_parent,  # noqa: PLW1509  no thread runs yet
    )


def kill_group(pid: int) -> None:
    """SIGKILL a process group that may be gone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def read_start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot (field 22 of /proc/PID/stat).

    Raises:
        FileNotFoundError: there is no such process.
    """
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[19])  # the name, field 2, may hold anything


def is_alive(pid: int, start_ticks: int) -> bool:
    """Say whether this very process, and no later one with its number, still runs."""
    try:
        return read_start_ticks(pid) == start_ticks
    except (FileNotFoundError, ProcessLookupError):
        return False


class MemoryWatch:
    """Resident memory of a process and all below it."""

    def __init__(self, pid: int) -> None:
        self._tree: list[psutil.Process] = []
        self._root_pid = pid
        self._num_looks = 0

    def read_bytes(self) -> int:
        """Sum the resident sets now; the tree itself is looked up at every fourth call."""
        if self._num_looks % 4 == 0:
            self._tree = _list_tree(self._root_pid)
        self._num_looks += 1
        return sum(map(_resident_bytes, self._tree))


class OomCounter:
    """Whether the kernel has killed for memory since this was made."""

    def __init__(self) -> None:
        self._path = _find_oom_file()
        self._before = self._read()

    def has_risen(self) -> bool:
        """Say whether the kernel's count of out-of-memory kills is higher than at the start."""
        return self._read() > self._before

    def _read(self) -> int:
        for line in self._path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0


def _find_oom_file() -> Path:
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        if line.startswith("0::/"):
            path = Path("/sys/fs/cgroup", line[4:], "memory.events")
            if path.is_file():
                return path
    return Path("/proc/vmstat")  # of the whole machine: the best there is outside a group


def _list_tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
