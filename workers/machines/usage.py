"""Measures a node's running machines every two seconds, and adds that to what the node reports.

Rates are of the time between two looks. Whatever cannot be read is left out, and nothing here ever
keeps a node from looking after its machines.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import httpx
import structlog

from workers.errors import WorkerError
from workers.machines import cgroups
from workers.machines.engine import Disks, scratch_name, slot_scratch
from workers.machines.gpus import GpuMeter
from workers.machines.kernels import is_kernel_busy
from workers.machines.measures import (
    MOST_TOLD_MINUTES,
    DeviceUsage,
    MachineSigns,
    MachineUsage,
)
from workers.machines.minutes import MinuteBook
from workers.machines.orders import MachineOrder, MachineReport, MachineState
from workers.machines.plan import Container

log = structlog.get_logger()

LOOK_EVERY_S = 2.0
_SIGNS_EVERY_S = 15.0
_LATELY_S = 60.0
_DISKS_EVERY_S = 60.0
_DISKS_SHARE = 20
"""At most a twentieth of the time goes into measuring disks, however long that takes."""


class MeasuresDisks(Protocol):
    """What can say how much containers have written."""

    def measure_disks(self) -> Disks:
        """Return it."""


@dataclass(frozen=True)
class _Reading:
    """What the kernel has counted for a container up to a moment."""

    at: float
    cpu_s: float | None
    network: tuple[int, int] | None


@dataclass
class _Track:
    """What is kept of one container from look to look."""

    container: str
    book: MinuteBook
    readings: deque[_Reading] = field(default_factory=deque)
    """Of the last minute, oldest first."""
    gpu_busy: deque[tuple[float, float | None]] = field(default_factory=deque)
    usage: MachineUsage | None = None
    is_told: bool = True
    is_kernel_busy: bool | None = None
    num_runs: int | None = None
    runs_counted_at: float = float("-inf")


class UsageMeter:
    """Everything of one node."""

    def __init__(
        self,
        engine: MeasuresDisks,
        *,
        gpus: GpuMeter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take who measures disks; `clock` in seconds."""
        self._engine, self._clock = engine, clock
        self._gpus = gpus or GpuMeter()
        self._tracks: dict[str, _Track] = {}
        self._disks: Disks | None = None
        self._due = {"look": float("-inf"), "disks": float("-inf"), "kernels": float("-inf")}
        self._works: dict[str, asyncio.Task[None]] = {}
        # Machines are reached directly; a proxy of the node's is not on the way.
        self._http = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(3.0))

    async def close(self) -> None:
        """End what is under way."""
        for work in self._works.values():
            work.cancel()
        await asyncio.gather(*self._works.values(), return_exceptions=True)
        await self._http.aclose()

    async def add_usage(
        self,
        states: list[MachineState],
        orders: Iterable[MachineOrder],
        containers: Iterable[Container],
    ) -> list[MachineState]:
        """Return the states with what was measured since they were last told."""
        orders = list(orders)
        wanted = {order.machine for order in orders}
        self._tracks = {name: track for name, track in self._tracks.items() if name in wanted}
        if self._clock() >= self._due["look"]:
            self._due["look"] = self._clock() + LOOK_EVERY_S - 0.2  # a pass is a second or so
            pairs = _pair(orders, containers)
            await asyncio.to_thread(self.look, pairs)
            self._begin("disks", self._measure_disks)
            self._begin("kernels", lambda: self._ask_kernels(pairs))
        return [self._add(state) for state in states]

    def look(self, pairs: list[tuple[MachineOrder, Container]]) -> None:
        """Measure these running machines, and forget all others but their last minutes."""
        for order, container in pairs:
            try:
                self._look(order, container)
            except (OSError, ValueError) as error:
                log.warning("machine_not_measured", machine=order.machine, error=str(error))
        running = {order.machine for order, _ in pairs}
        self._gpus.forget(running)
        for machine in set(self._tracks) - running:
            track = self._tracks[machine]
            track.book.close()
            track.is_told = True
            if not track.book.finished:
                del self._tracks[machine]

    def forget_told(self, report: MachineReport) -> None:
        """Let go of what a report that has arrived told."""
        for state in report.machines:
            track = self._tracks.get(state.machine)
            if track is not None:
                track.book.drop(state.minutes)
                if state.usage is not None and state.usage == track.usage:
                    track.is_told = True

    def _add(self, state: MachineState) -> MachineState:
        track = self._tracks.get(state.machine)
        if track is None:
            return state
        usage = None if track.is_told else track.usage
        minutes = track.book.finished[:MOST_TOLD_MINUTES]
        return state.model_copy(update={"usage": usage, "minutes": minutes})

    def _look(self, order: MachineOrder, container: Container) -> None:
        track = self._tracks.get(order.machine)
        if track is None or track.container != container.id:
            book = track.book if track else MinuteBook()
            track = self._tracks[order.machine] = _Track(container.id, book)
        group = cgroups.find_cgroup(container.pid)
        reading = _Reading(
            at=self._clock(),
            cpu_s=group.read_cpu_s() if group else None,
            network=cgroups.read_network_bytes(container.pid),
        )
        processes = group.list_processes() if group else None
        devices = tuple(self._gpus.read(order, processes))
        self._note(track, reading, processes, devices)
        received, sent = _per_second(track.readings)
        track.usage = MachineUsage(
            taken_at=time.time(),
            cores=_count_cores(track.readings, is_lately=False),
            cores_limit=order.limits.cpus,
            memory_bytes=group.read_memory_bytes() if group else None,
            memory_limit_bytes=order.limits.memory_bytes,
            received_bytes_per_s=received,
            sent_bytes_per_s=sent,
            devices=devices,
            signs=self._read_signs(track, container),
            **self._read_disks(order, container),
        )
        track.is_told = False
        track.book.add(track.usage)

    def _note(
        self,
        track: _Track,
        reading: _Reading,
        processes: list[int] | None,
        devices: tuple[DeviceUsage, ...],
    ) -> None:
        track.readings.append(reading)
        track.gpu_busy.append((reading.at, _busiest(devices)))
        while track.readings[0].at < reading.at - _LATELY_S and len(track.readings) > 2:
            track.readings.popleft()
        while track.gpu_busy[0][0] < reading.at - _LATELY_S:
            track.gpu_busy.popleft()
        if reading.at - track.runs_counted_at >= _SIGNS_EVERY_S:
            track.num_runs = None if processes is None else cgroups.count_runs(processes)
            track.runs_counted_at = reading.at

    def _read_signs(self, track: _Track, container: Container) -> MachineSigns:
        busy = [value for _, value in track.gpu_busy if value is not None]
        is_any_unknown = len(busy) < len(track.gpu_busy)
        return MachineSigns(
            cores_lately=_count_cores(track.readings, is_lately=True),
            gpu_busy_lately=None if is_any_unknown else max(busy, default=0.0),
            is_kernel_busy=track.is_kernel_busy,
            terminal_at=cgroups.read_terminal_at(container.pid),
            num_runs=track.num_runs,
        )

    def _read_disks(self, order: MachineOrder, container: Container) -> dict[str, int | None]:
        if self._disks is None:
            return {}
        slot, own = container.slot, scratch_name(order.machine, order.life)
        return {
            "layer_bytes": self._disks.layers.get(container.id),
            "scratch_bytes": self._disks.scratch.get(slot_scratch(slot) if slot else own),
            "disk_free_bytes": self._disks.free_bytes,
        }

    def _begin(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Start what is due and not under way; reports do not wait for it."""
        known = self._works.get(name)
        if self._clock() >= self._due[name] and (known is None or known.done()):
            self._works[name] = asyncio.create_task(work())

    async def _measure_disks(self) -> None:
        begun = self._clock()
        try:
            self._disks = await asyncio.to_thread(self._engine.measure_disks)
        except (WorkerError, OSError) as error:
            self._disks = None
            log.warning("disks_not_measured", error=str(error))
        took_s = self._clock() - begun
        self._due["disks"] = self._clock() + max(_DISKS_EVERY_S, took_s * _DISKS_SHARE)

    async def _ask_kernels(self, pairs: list[tuple[MachineOrder, Container]]) -> None:
        self._due["kernels"] = self._clock() + _SIGNS_EVERY_S

        async def ask(order: MachineOrder, container: Container) -> None:
            found = None
            if container.address:
                found = await is_kernel_busy(self._http, container.address, order.lab_port)
            if (track := self._tracks.get(order.machine)) and track.container == container.id:
                track.is_kernel_busy = found

        await asyncio.gather(*(ask(order, container) for order, container in pairs))


def _pair(
    orders: Iterable[MachineOrder], containers: Iterable[Container]
) -> list[tuple[MachineOrder, Container]]:
    """Return the machines that run as they are ordered, with their containers."""
    wanted = {(order.machine, order.life): order for order in orders}
    return [
        (wanted[each.machine, each.life], each)
        for each in containers
        if each.is_up and each.pid and (each.machine, each.life) in wanted
    ]


def _count_cores(readings: deque[_Reading], *, is_lately: bool) -> float | None:
    """Return the cores used between the last reading and the one before, or the oldest kept."""
    if len(readings) < 2:
        return None
    last = readings[-1]
    first = readings[0] if is_lately else readings[-2]
    if last.cpu_s is None or first.cpu_s is None or last.at <= first.at:
        return None
    return max(0.0, last.cpu_s - first.cpu_s) / (last.at - first.at)


def _per_second(readings: deque[_Reading]) -> tuple[float | None, float | None]:
    if len(readings) < 2:
        return None, None
    before, last = readings[-2], readings[-1]
    if before.network is None or last.network is None or last.at <= before.at:
        return None, None
    passed_s = last.at - before.at
    received, sent = (
        max(0, now - then) / passed_s
        for now, then in zip(last.network, before.network, strict=True)
    )
    return received, sent


def _busiest(devices: tuple[DeviceUsage, ...]) -> float | None:
    """Return how busy the busiest is; None where one cannot be told. A mock one is never busy."""
    real = [each.busy_ratio for each in devices if not each.is_mock]
    return None if None in real else max((ratio for ratio in real if ratio is not None), default=0)
