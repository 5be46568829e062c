"""What the kernel tells of a container: its control group's files (cgroups 1 and 2), and /proc.

Everything is read from outside, by the container's first process; a figure that is not there is
None. Nothing here follows a link that the container could have made.
"""

import os
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")
_KEEPER = b"athanor-run"  # how `clients/runs.py` names the shell that keeps a detached run
_MOST_PROCESSES = 4096


@dataclass(frozen=True)
class Hierarchies:
    """Where the kernel shows its control groups: by controller; version 2 has all in one, `""`."""

    roots: dict[str, Path]


@dataclass(frozen=True)
class Cgroup:
    """One container's, by controller."""

    folders: dict[str, Path]

    @property
    def is_unified(self) -> bool:
        """Whether it is of version 2."""
        return "memory" not in self.folders

    def read_cpu_s(self) -> float | None:
        """Return the processor time that its processes have used up to now."""
        if "cpuacct" in self.folders:
            spent = _read_int(self.folders["cpuacct"] / "cpuacct.usage")
            return None if spent is None else spent / 1e9
        spent = _read_key(self._main / "cpu.stat", "usage_usec")
        return None if spent is None else spent / 1e6

    def read_memory_bytes(self) -> int | None:
        """Return the memory it holds, without files that the kernel would forget at need."""
        name, key = ("memory.current", "inactive_file")
        if not self.is_unified:
            name, key = ("memory.usage_in_bytes", "total_inactive_file")
        held = _read_int(self._main / name)
        forgettable = _read_key(self._main / "memory.stat", key)
        return None if held is None else max(0, held - (forgettable or 0))

    def list_processes(self) -> list[int] | None:
        """Return the ids of its processes, as the node numbers them."""
        text = _read(self._main / "cgroup.procs")
        return None if text is None else [int(word) for word in text.split()[:_MOST_PROCESSES]]

    @property
    def _main(self) -> Path:
        return self.folders.get("memory") or self.folders[""]


@cache
def find_hierarchies() -> Hierarchies:
    """Return where control groups are mounted on this node."""
    roots = {}
    for line in PROC.joinpath("self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        kind, path = after.split()[0], Path(before.split()[4])
        if kind == "cgroup2":
            roots[""] = path
        elif kind == "cgroup":
            roots |= {each: path for each in after.split()[2].split(",")}
    return Hierarchies(roots)


def find_cgroup(pid: int, *, proc: Path = PROC, found: Hierarchies | None = None) -> Cgroup | None:
    """Return the control group of a process; None where it has gone or is not to be seen."""
    roots = (found or find_hierarchies()).roots
    folders = {}
    for line in (_read(proc / str(pid) / "cgroup") or "").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            folder = roots.get(name)
            if folder is not None and (folder / path.lstrip("/")).is_dir():
                folders[name] = folder / path.lstrip("/")
    return Cgroup(folders) if "memory" in folders or "" in folders else None


def read_network_bytes(pid: int, *, proc: Path = PROC) -> tuple[int, int] | None:
    """Return what a process's network has received and sent, its own loopback aside."""
    text = _read(proc / str(pid) / "net" / "dev")
    if text is None:
        return None
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) >= 9:
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent


def read_terminal_at(pid: int, *, proc: Path = PROC) -> float | None:
    """Return when a terminal of the container's was last read or written; 0 where there is none.

    The kernel notes both to eight seconds (`tty_update_time`), as `w` shows them.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        folder = os.open(proc / str(pid) / "root" / "dev" / "pts", flags)
    except OSError:
        return None
    latest = 0.0
    try:
        for name in os.listdir(folder):
            if not name.isdigit():
                continue
            try:
                told = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:  # closed in this moment
                continue
            if stat.S_ISCHR(told.st_mode):
                latest = max(latest, told.st_atime, told.st_mtime)
    finally:
        os.close(folder)
    return latest


def count_runs(processes: list[int], *, proc: Path = PROC) -> int:
    """Return how many of these processes keep a command of `athanor run` going."""
    found = 0
    for pid in processes:
        try:
            with (proc / str(pid) / "cmdline").open("rb") as file:
                words = file.read(4096).split(b"\0")
        except OSError:
            continue
        found += len(words) > 3 and words[1] == b"-c" and words[3] == _KEEPER
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _read_int(path: Path) -> int | None:
    text = (_read(path) or "").strip()
    return int(text) if text.isdigit() else None


def _read_key(path: Path, key: str) -> int | None:
    for line in (_read(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.strip().isdigit():
            return int(value)
    return None
