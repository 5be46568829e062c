"""Folders of the node, shown where a container's root can reach them: bind mounts below /run."""

import os
import subprocess
from pathlib import Path

import structlog

from workers.machines.walls import EngineFault

log = structlog.get_logger()


def bind(source: Path, target: Path) -> None:
    """Show a folder at a place that machines' root can reach: the folders above `source` may be
    closed to it, and stay so.

    Raises:
        EngineFault: it cannot be mounted there.
    """
    target.mkdir(mode=0o711, parents=True, exist_ok=True)
    if os.path.samestat(source.stat(), target.stat()):
        return
    unbind(target)  # what an earlier node was killed with, perhaps gone by now
    done = subprocess.run(
        ["mount", "--bind", str(source), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineFault(
            "mount_failed", source=source, target=target, words=done.stderr.strip()[:200]
        )


def unbind(target: Path) -> None:
    """Show nothing there any more; who has it mounted elsewhere keeps it."""
    while is_mounted(target):
        done = subprocess.run(["umount", "--lazy", str(target)], capture_output=True, check=False)
        if done.returncode:
            log.warning("unbind_failed", path=str(target))
            return


def is_mounted(target: Path) -> bool:
    """Say whether something is mounted there; of a bind mount no path itself tells."""
    return target in _list_points()


def list_mounted(folder: Path) -> list[Path]:
    """Return where something is mounted in a folder or on it, in the order that it was."""
    return [point for point in _list_points() if point.is_relative_to(folder)]


def _list_points() -> list[Path]:
    told = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [Path(line.split()[4]) for line in told]
