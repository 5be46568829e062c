"""What a node has: cores, memory, disk and GPUs, as its own limits leave them to it."""

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from workers.machines.orders import MOCK_DEVICE

_CGROUP_LIMIT = Path(
    "/sys/fs/cgroup/memory.max"
)  # cgroup v2: the limit of a container or a service


class Device(BaseModel):
    """One GPU."""

    model_config = ConfigDict(frozen=True)

    index: int
    name: str
    memory_bytes: int
    uuid: str


class Inventory(BaseModel):
    """What the node offers."""

    model_config = ConfigDict(frozen=True)

    version: str
    cores: int
    memory_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    devices: tuple[Device, ...]


def take_inventory(disk: Path, *, mock_devices: int = 0) -> Inventory:
    """Count what this process may use; `disk` is where runs are kept.

    `mock_devices` GPUs that are not there are told of instead of those that are, where any.
    """
    usage = psutil.disk_usage(str(disk))
    return Inventory(
        version=read_version(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=read_memory_bytes(),
        disk_free_bytes=usage.free,
        disk_bytes=usage.total,
        devices=choose_devices(mock_devices),
    )


def choose_devices(mock_devices: int) -> tuple[Device, ...]:
    """Return the GPUs that there are, or so many that are not."""
    return _make_believe(mock_devices) if mock_devices else list_devices()


@cache
def read_version() -> str:
    """Return the version of the installed node software."""
    try:
        return version("athanor")
    except PackageNotFoundError:
        return "source"


@cache
def list_devices() -> tuple[Device, ...]:
    """Return the GPUs that NVIDIA's library reports; none where it or the driver is missing.

    Counted once: a GPU that is added or lost while the node runs is seen after its restart.
    """
    try:
        import pynvml  # optional: only GPU nodes install it
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_read_device(pynvml, i) for i in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def _make_believe(number: int) -> tuple[Device, ...]:
    return tuple(
        Device(index=index, name="Mock GPU", memory_bytes=80 * 2**30, uuid=f"{MOCK_DEVICE}{index}")
        for index in range(number)
    )


def _read_device(nvml: object, index: int) -> Device:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
    return Device(
        index=index,
        name=nvml.nvmlDeviceGetName(handle),  # type: ignore[attr-defined]
        memory_bytes=nvml.nvmlDeviceGetMemoryInfo(handle).total,  # type: ignore[attr-defined]
        uuid=nvml.nvmlDeviceGetUUID(handle),  # type: ignore[attr-defined]
    )


def read_memory_bytes() -> int:
    """Return the memory that this node has, or is left."""
    total = psutil.virtual_memory().total
    try:
        return min(total, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no cgroup, or "max"
        return total
