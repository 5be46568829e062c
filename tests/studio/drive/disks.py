"""A disk with quotas of its own for a test: btrfs in a file, by a loop device."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_BYTES = 256 * 2**20


def why_no_btrfs() -> str | None:
    """Say why no such disk can be made here, None when it can."""
    if os.getuid():
        return "mounting a disk needs root"
    if not shutil.which("mkfs.btrfs"):
        return "btrfs-progs is not installed: run `make provision`"
    if "btrfs" not in Path("/proc/filesystems").read_text():
        return "this kernel has no btrfs"
    return None


@contextmanager
def mount_btrfs(folder: Path) -> Iterator[Path]:
    """Give a mounted btrfs disk below a folder, and take it away at the end."""
    image, point = folder / "disk", folder / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
