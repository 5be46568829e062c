"""Gives the /dev/shm of a container that runs another size: `python shm.py PID BYTES`, as root.

A process of its own, because it steps into the container's mounts. It runs nothing there: what it
needs is loaded before, and the one call that follows is the kernel's.
"""

import ctypes
import os
import sys

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, sched.h
_NOSUID, _NODEV, _NOEXEC, _REMOUNT = 2, 4, 8, 32  # mount.h; as the engine mounts it, and no other


def resize(pid: int, num_bytes: int) -> None:
    """Set the size, in this process, which is in the container's mounts from then on."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    flags = _REMOUNT | _NOSUID | _NODEV | _NOEXEC
    size = f"size={num_bytes}".encode()
    if libc.setns(mounts, _NEW_MOUNTS) or libc.mount(None, b"/dev/shm", None, flags, size):
        code = ctypes.get_errno()
        raise OSError(code, f"/dev/shm: {os.strerror(code)}")


if __name__ == "__main__":
    resize(int(sys.argv[1]), int(sys.argv[2]))
