"""What a node measures of a dev machine, as it tells the studio. Light enough for it to import.

All of it is the machine's own: its processors and memory, not the node's. None is what cannot be
told, which is not the same as nothing.
"""

from pydantic import BaseModel, ConfigDict, Field

MOST_MINUTES = 60
"""How many a node keeps for a studio that is away."""
MOST_TOLD_MINUTES = 10
"""And tells in one report, so that it stays small."""
_Bytes = Field(default=None, ge=0, lt=2**60)
_Ratio = Field(default=None, ge=0, le=1)


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class DeviceUsage(_Measured):
    """One GPU, as far as it is the machine's."""

    uuid: str = Field(max_length=80)
    is_mock: bool = False
    """It is a GPU in name only: nothing is measured of it."""
    busy_ratio: float | None = _Ratio
    """Of the whole GPU's time."""
    memory_bytes: int | None = _Bytes
    memory_limit_bytes: int | None = _Bytes
    """Its share of the GPU's memory."""


class MachineSigns(_Measured):
    """What on the node tells whether somebody, or something, is using the machine."""

    cores_lately: float | None = Field(default=None, ge=0)
    """Cores used on average over the last minute."""
    gpu_busy_lately: float | None = _Ratio
    """The most that any of its GPUs was busy in the last minute; 0 where it has none."""
    is_kernel_busy: bool | None = None
    """Of Jupyter; False where none listens."""
    terminal_at: float | None = Field(default=None, ge=0)
    """When somebody last typed, or a program last wrote, in any terminal; 0 where there is none."""
    num_runs: int | None = Field(default=None, ge=0)
    """Commands that `athanor run` keeps going."""


class MachineUsage(_Measured):
    """A machine at one moment."""

    taken_at: float = Field(ge=0)
    """Unix seconds by the node's clock."""
    cores: float | None = Field(default=None, ge=0)
    """Used since the moment before."""
    cores_limit: float = Field(gt=0)
    memory_bytes: int | None = _Bytes
    """What its programs hold; files that the kernel merely remembers do not count."""
    memory_limit_bytes: int = Field(ge=0, lt=2**60)
    received_bytes_per_s: float | None = Field(default=None, ge=0)
    sent_bytes_per_s: float | None = Field(default=None, ge=0)
    layer_bytes: int | None = _Bytes
    """What was written outside of home and scratch, a minute old at most or so."""
    scratch_bytes: int | None = _Bytes
    disk_free_bytes: int | None = _Bytes
    """Of the node's disk that both are on."""
    devices: tuple[DeviceUsage, ...] = Field(default=(), max_length=64)
    signs: MachineSigns = MachineSigns()


class UsageMinute(_Measured):
    """A machine over one minute: means, but for memory, of which it is the most."""

    minute: int = Field(ge=0, lt=2**32)
    """Minutes since 1970."""
    cores: float | None = Field(default=None, ge=0)
    memory_bytes: int | None = _Bytes
    gpu_busy_ratio: float | None = _Ratio
    """Over all of its GPUs."""
    gpu_memory_bytes: int | None = _Bytes
    received_bytes_per_s: float | None = Field(default=None, ge=0)
    sent_bytes_per_s: float | None = Field(default=None, ge=0)
    layer_bytes: int | None = _Bytes
    scratch_bytes: int | None = _Bytes
