"""A machine's moments gathered into minutes, kept until the studio has them."""

from dataclasses import dataclass, field

from workers.machines.measures import MOST_MINUTES, MachineUsage, UsageMinute


@dataclass
class _Mean:
    """Of what is there: a moment without a figure is left out, and does not count as 0."""

    total: float = 0.0
    num: int = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total, self.num = self.total + value, self.num + 1

    @property
    def value(self) -> float | None:
        return self.total / self.num if self.num else None


@dataclass
class _Minute:
    minute: int
    last: MachineUsage
    cores: _Mean = field(default_factory=_Mean)
    received: _Mean = field(default_factory=_Mean)
    sent: _Mean = field(default_factory=_Mean)
    gpu_busy: _Mean = field(default_factory=_Mean)
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None

    def add(self, usage: MachineUsage) -> None:
        self.last = usage
        self.cores.add(usage.cores)
        self.received.add(usage.received_bytes_per_s)
        self.sent.add(usage.sent_bytes_per_s)
        busy = [each.busy_ratio for each in usage.devices if each.busy_ratio is not None]
        self.gpu_busy.add(sum(busy) / len(busy) if busy else None)
        self.memory_bytes = _most(self.memory_bytes, usage.memory_bytes)
        held = [each.memory_bytes for each in usage.devices if each.memory_bytes is not None]
        self.gpu_memory_bytes = _most(self.gpu_memory_bytes, sum(held) if held else None)

    def finish(self) -> UsageMinute:
        return UsageMinute(
            minute=self.minute,
            cores=self.cores.value,
            memory_bytes=self.memory_bytes,
            gpu_busy_ratio=self.gpu_busy.value,
            gpu_memory_bytes=self.gpu_memory_bytes,
            received_bytes_per_s=self.received.value,
            sent_bytes_per_s=self.sent.value,
            layer_bytes=self.last.layer_bytes,
            scratch_bytes=self.last.scratch_bytes,
        )


class MinuteBook:
    """One machine's minutes; of more than an hour that nobody took, the oldest go."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._open: _Minute | None = None
        self._finished: list[UsageMinute] = []

    @property
    def finished(self) -> tuple[UsageMinute, ...]:
        """Return the minutes that are over and were not dropped, oldest first."""
        return tuple(self._finished)

    def add(self, usage: MachineUsage) -> None:
        """Take a moment; one of a new minute ends the minute before. A clock set back ends none."""
        minute = int(usage.taken_at // 60)
        if self._open is not None and minute > self._open.minute:
            self.close()
        if self._open is None:
            self._open = _Minute(minute, usage)
        self._open.add(usage)

    def close(self) -> None:
        """End the minute that is open: nothing more of it will come."""
        if self._open is not None:
            self._finished = [*self._finished, self._open.finish()][-MOST_MINUTES:]
            self._open = None

    def drop(self, told: tuple[UsageMinute, ...]) -> None:
        """Forget minutes that the studio has."""
        known = {each.minute for each in told}
        self._finished = [each for each in self._finished if each.minute not in known]


def _most(before: int | None, now: int | None) -> int | None:
    return now if before is None else before if now is None else max(before, now)
