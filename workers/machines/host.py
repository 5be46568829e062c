"""The node's fifth part: keeps its dev machines as the studio wants them, and lets the studio in.

It dials the studio each second, and at once where its bell rings, says how its machines are and
hears what they shall be. While the studio is away the machines go on by the last orders; while the
Docker engine is away it says so.
"""

import asyncio
import contextlib
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, gaierror, getaddrinfo
from urllib.parse import urlsplit

import structlog

from workers.config import NodeConfig
from workers.errors import StudioAway, StudioRefused, WorkerError
from workers.inventory import read_memory_bytes
from workers.machines.bell import Bell
from workers.machines.binds import bind
from workers.machines.door import ADDRESS, door_url, find_port, needs_door, open_door
from workers.machines.engine import Folders
from workers.machines.firewall import raise_firewall
from workers.machines.leftovers import note_node, sweep_leftovers
from workers.machines.memory import MachineMemory
from workers.machines.orders import (
    MachineAnswer,
    MachineOrder,
    MachinePhase,
    MachineReport,
    MachineState,
    SavedState,
    UnreadOrder,
)
from workers.machines.readiness import Readiness
from workers.machines.reconciler import Reconciler
from workers.machines.relay import Relay
from workers.machines.saving import Saver
from workers.machines.spares import SPARE_BYTES, SpareEngine, SpareWish
from workers.machines.usage import UsageMeter
from workers.machines.walls import EngineAway, EngineFault
from workers.node_dir import NodeDir
from workers.studio_client import StudioClient

log = structlog.get_logger()

PASS_EVERY_S = 1.0
WALLS_EVERY_S = 60.0
IMAGES_EVERY_S = 30.0
_MOST_IMAGES = 500
_GONE = 410  # the node was removed from the studio
_IN_MEMORY = Path("/run/athanor")
_MOST_TOLD = 500
_SPARE_FROM_BYTES = 8 * 2**30
"""From so much memory on a node keeps a spare machine without being told to."""


class MachineHost:
    """One node's host of dev machines."""

    def __init__(
        self, config: NodeConfig, client: StudioClient, *, engine_host: str | None = None
    ) -> None:
        """Take what it works with; `run` begins. `engine_host` None is DOCKER_HOST."""
        self._config, self._client = config, client
        # Two nodes may share a machine, and even a name: not these folders.
        digest = hashlib.sha256(str(config.node_dir).encode()).hexdigest()[:8]
        folder = _IN_MEMORY / f"{config.node_name}-{digest}"
        self._folders = Folders(
            folder / "homes",
            folder / "share",
            folder / "secrets",
            disks=config.node_dir / "machines" / "scratch",
        )
        self._engine = SpareEngine(config.node_name, self._folders, host=engine_host)
        self._memory = MachineMemory(config.node_dir / "machines")
        self._reconciler = Reconciler(self._engine, self._memory)
        self._meter = UsageMeter(self._engine)
        self._readiness = Readiness()
        self._saver = Saver(config.node_name, host=engine_host)
        self._kept_images: tuple[str, ...] | None = None
        key = hashlib.sha256(config.node_token.encode()).hexdigest()
        self._relay = Relay(key, lambda machine: self._addresses.get(machine))
        self._addresses: dict[str, str] = {}
        self._was_away = False
        self._relay_port = 0
        self._bell = Bell(config.broker_url, config.node_name)
        self._orders: list[MachineOrder] | None = None
        self._unread: tuple[UnreadOrder, ...] = ()
        self._spares = SpareWish("", 0)
        self._report = MachineReport(engine="", machines=[])
        self._unlimited: tuple[str, ...] = ()
        self._is_walled = False
        self._walled_at = 0.0
        self._images: tuple[str, ...] | None = None
        self._images_at = 0.0
        self._door: asyncio.Server | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        self._memory.create()
        self._orders = self._memory.read_orders()
        if os.geteuid() == 0:  # without it there are no machines either
            await asyncio.to_thread(self._show_mounts)
        listening = asyncio.create_task(self._bell.listen())
        try:
            await self._live()
        finally:  # machines that run keep the mounts that they have
            await self._meter.close()
            self._readiness.close()
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await asyncio.get_running_loop().shutdown_default_executor()  # a pass may mount
            self._reconciler.close()
            self._engine.hide_mounts()

    def _show_mounts(self) -> None:
        own = self._folders.secrets.parent
        note_node(own, self._config.node_dir)
        sweep_leftovers(own)
        self._engine.show_mounts()

    async def _live(self) -> None:
        while True:
            try:
                await self.tell_once()
            except (StudioAway, StudioRefused) as error:
                log.warning("machines_report_failed", error=str(error))
            # A change is told at once: people wait for it.
            before = self._states_in(self._report)
            await self.pass_once()
            if self._states_in(self._report) == before and not self._reconciler.is_busy:
                await self._bell.wait(PASS_EVERY_S)

    async def tell_once(self) -> None:
        """Say how the machines are, and hear what they shall be.

        Raises:
            StudioAway, StudioRefused: as they say.
        """
        body = self._report.model_dump_json().encode()
        try:
            answer = await self._client.report_machines(self._config.node_token, body)
        except StudioRefused as error:
            if error.status == _GONE and self._orders != []:
                log.warning("node_removed", doing="ending the machines that are here")
                self._keep_orders([])
            raise
        self._meter.forget_told(self._report)
        self._kept_images = answer.saved
        self._spares = SpareWish(answer.usual_image, 0, answer.disk_bytes, answer.scratch_bytes)
        self._keep_orders(self._read_orders(answer))

    def _read_orders(self, answer: MachineAnswer) -> list[MachineOrder]:
        """Return what the machines shall be; one whose order cannot be read goes on by its last,
        or stops if that can be read.
        """
        last = {order.machine: order for order in self._orders or ()}
        held = []
        for each in answer.unread:
            if order := last.get(each.machine):
                is_running = order.is_running and not each.shall_stop
                held.append(order.model_copy(update={"is_running": is_running}))
        if answer.unread != self._unread:
            self._unread = answer.unread
            for each in answer.unread:
                log.error("machine_order_unread", machine=each.machine, fields=each.fields)
        return [*answer.orders, *held]

    def _keep_orders(self, orders: list[MachineOrder]) -> None:
        if orders != self._orders:
            self._orders = orders
            self._memory.write_orders(orders)

    async def pass_once(self) -> None:
        """Do what is due on this node, and keep how everything is for the next report."""
        try:
            version = await asyncio.to_thread(self._ready)
            if self._was_away:  # before an address can be another's
                self._addresses = await asyncio.to_thread(self._list_addresses)
                self._was_away = False
            await self._open_ways()
            states, strays = await asyncio.to_thread(self._reconcile)
            await self._look_at_images()
            seen = self._reconciler.containers
            states = await self._meter.add_usage(states, self._orders or [], seen)
            saved = await asyncio.to_thread(self._look_at_saved)
        except (WorkerError, OSError) as error:
            # While only the engine is away, machines may run on behind their walls, and whoever
            # comes is let in; all else is a reason to let nobody in.
            self._was_away = isinstance(error, EngineAway)
            if not self._was_away:
                self._addresses = {}
            self._is_walled = False
            self._report = self._tell("", str(error), [], ())
            return
        self._addresses = {state.machine: state.address for state in states if state.address}
        report = self._tell(version, "", states, strays)
        self._report = report.model_copy(update={"saved": saved})

    def _ready(self) -> str:
        """Return the engine's version, once all that a machine relies on is there.

        Raises:
            WorkerError, OSError: something is missing; the message is a sentence for people.
        """
        version = self._engine.tell_version()
        if os.geteuid() != 0:
            raise EngineFault("machines_need_root")
        self._unlimited = self._engine.list_unlimited()
        if self._config.drive_dir is None:
            raise EngineFault("drives_not_set")
        bind(self._config.drive_dir, self._folders.homes)
        if (share := NodeDir(self._config.node_dir).share).is_dir():
            bind(share, self._folders.share)
        return version

    def _list_addresses(self) -> dict[str, str]:
        """Return what has come through an absence of the engine, of what was reached before."""
        return {
            each.machine: each.address
            for each in self._engine.list_containers()
            if each.status == "running" and self._addresses.get(each.machine) == each.address
        }

    async def _open_ways(self) -> None:
        """Lay the packet filter, and open the relay and the machines' way to the studio."""
        if needs_door(self._config.studio_url) and self._door is None:
            self._door = await open_door(self._config.studio_url)
        now = asyncio.get_running_loop().time()
        if not self._is_walled or now - self._walled_at > WALLS_EVERY_S:
            await asyncio.to_thread(raise_firewall, self._list_studio_doors())
            self._is_walled, self._walled_at = True, now
        if self._relay_port == 0:
            self._relay_port = await self._relay.open(
                self._config.node_host, self._config.relay_port
            )

    async def _look_at_images(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._images is None or now - self._images_at > IMAGES_EVERY_S:
            listed = await asyncio.to_thread(self._engine.list_images)
            self._images, self._images_at = tuple(listed[:_MOST_IMAGES]), now

    def _reconcile(self) -> tuple[list[MachineState], tuple[str, ...]]:
        if self._orders is None:  # a studio never heard is not one that wants nothing
            return [], ()
        ordered = {order.machine for order in self._orders}
        unread = [each for each in self._unread if each.machine not in ordered]
        spared = {each.machine for each in unread}
        states = self._reconciler.pass_once(self._orders, spared)
        self._reconciler.tend_spares(replace(self._spares, number=self._count_spares()))
        states = self._readiness.look(self._orders, states)
        strays = [each for each in self._reconciler.list_strays(self._orders) if each not in spared]
        return [*states, *map(_tell_unread, unread)], tuple(strays)

    def _look_at_saved(self) -> tuple[SavedState, ...]:
        saved = self._saver.look(self._orders or ())
        if self._kept_images is not None:
            self._saver.tidy(self._kept_images)
        return saved

    def _count_spares(self) -> int:
        """Return how many spares there is memory for beside what the machines may use."""
        assert self._orders is not None
        memory_bytes = read_memory_bytes()
        wanted = self._config.spare_machines
        if wanted is None:
            wanted = 1 if memory_bytes >= _SPARE_FROM_BYTES else 0
        used = sum(each.limits.memory_bytes for each in self._orders if each.is_running)
        return min(wanted, max(0, memory_bytes - used) // SPARE_BYTES)

    def _list_studio_doors(self) -> list[tuple[str, int]]:
        url = self._config.studio_url
        if needs_door(url):
            return [(ADDRESS, find_port(url))]
        host = urlsplit(url).hostname or ""
        try:
            found = getaddrinfo(host, find_port(url), proto=6)
        except gaierror as error:
            raise EngineFault("studio_unknown", host=host) from error
        # The rules are IPv4's; tenants' networks have no IPv6.
        return sorted({(str(each[4][0]), find_port(url)) for each in found if each[0] == AF_INET})

    def _tell(
        self, version: str, problem: str, states: list[MachineState], strays: tuple[str, ...]
    ) -> MachineReport:
        return MachineReport(
            engine=version[:100],
            problem=" ".join(problem.split())[:_MOST_TOLD],
            machines=states,
            strays=strays,
            images=self._images,
            relay_host=self._config.node_host,
            relay_port=self._relay_port,
            studio_url=door_url(self._config.studio_url),
            unlimited=self._unlimited if version else (),
        )

    @staticmethod
    def _states_in(report: MachineReport) -> list[tuple[object, ...]]:
        told: list[tuple[object, ...]] = [
            (s.machine, s.phase.value, s.life, s.start, s.is_created, s.ready_ports)
            for s in report.machines
        ]
        return [*told, *((each.key,) for each in report.saved)]


def _tell_unread(order: UnreadOrder) -> MachineState:
    fields = ", ".join(order.fields)
    message = str(EngineFault("machine_order_unread", fields=fields))[:_MOST_TOLD]
    return MachineState(
        machine=order.machine,
        life=order.life,
        start=order.start,
        phase=MachinePhase.FAILED,
        message=message,
    )
