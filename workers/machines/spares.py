"""Spare machines: containers that run already, are nobody's yet, and become somebody's in moments.

One that is taken gets, in this order: its limits, its tenant's network, its owner's drive, its host
name; then its name, by which alone it is somebody's machine; then its secrets, which are what its
own program waits for. Killed before it has its name, it is removed: a container that ever saw
anything of a tenant's is nobody else's. Killed after, the next pass goes on where this one ended.
"""

import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import Mount

from workers.machines import shm
from workers.machines.engine import (
    SLOT,
    Folders,
    MachineEngine,
    container_name,
    slot_scratch,
    write_secrets,
)
from workers.machines.orders import MOCK_DEVICE, MachineLimits, MachineOrder
from workers.machines.plan import Container
from workers.machines.slots import Slots
from workers.machines.walls import EngineFault, tell_devices

log = structlog.get_logger()

SPARE_BYTES = 512 * 2**20
"""What a spare may use until it is taken: its tools have read what is heavy already."""
TOLD = "environment.json"
"""The file in /run/athanor that a spare's program waits for: what its owner's programs are told."""
_WAITS = "athanor.spare"
"""Label of images whose program can wait."""
_KIND = "athanor.kind"
_NAME = "athanor-spare-"
_LIMITS = MachineLimits(cpus=1, memory_bytes=SPARE_BYTES, pids=256)
_MOST_HOSTS_BYTES = 64 * 1024
_PAUSE_S = 30.0


@dataclass(frozen=True)
class SpareWish:
    """How many to keep, and of what."""

    image: str
    """As orders name it; blank keeps none."""
    number: int
    disk_bytes: int | None = None
    scratch_bytes: int | None = None
    """What a container is given as it is made, and no other way: see `MachineLimits`."""

    @property
    def kind(self) -> str:
        """Of what kind its spares are, for a label: what does not change when one is taken."""
        return _tell_kind(self.image, self.disk_bytes, self.scratch_bytes)


@dataclass(frozen=True)
class _Spare:
    id: str
    slot: str
    kind: str
    is_up: bool


class SpareEngine(MachineEngine):
    """A node's engine that gives a machine a spare container where one fits."""

    def __init__(self, node: str, folders: Folders, *, host: str | None = None) -> None:
        """Take the engine at `host`, or at DOCKER_HOST."""
        super().__init__(node, folders, host=host)
        self._slots = Slots(folders.slots)
        self._taking: set[str] = set()
        self._lock = threading.Lock()
        self._num_fallen, self._make_at = 0, 0.0
        self._taken: dict[tuple[str, int], Container] = {}
        self._dressed: set[tuple[str, float | None]] = set()

    def hide_mounts(self) -> None:
        """Leave nothing mounted on the node; machines that run keep what they have, and so do
        spares.
        """
        super().hide_mounts()
        self._slots.close()

    def list_containers(self, machines: Collection[str] | None = None) -> list[Container]:
        """Return this node's machines, or these of them; spares are none yet."""
        found = super().list_containers(machines)
        kept = self._taken if machines is not None else {}
        self._taken = {key: each for key, each in kept.items() if key[0] not in (machines or ())}
        self._taken |= {(each.machine, each.life): each for each in found if each.slot}
        return found

    def create(self, order: MachineOrder) -> str | None:
        """Make a machine's container of a spare where one fits, or anew."""
        self._remove_spoiled()
        spare = self._choose(order)
        if spare is not None:
            try:
                return self._take(spare, order)
            except (EngineFault, OSError) as error:
                log.warning("spare_spoiled", machine=order.machine, error=str(error))
            finally:
                self._taking.discard(spare.slot)
            self._remove_spoiled()  # first: never two that have one home open
        return super().create(order)

    def start(self, container: str, order: MachineOrder) -> None:
        """Start a container, its secrets and what else it was given as they are ordered."""
        slot = self._find_slot(container)
        if not slot:
            super().start(container, order)
            return
        root = self.find_root()
        self._slots.show_home(slot, self._find_home(order), owner=root)
        write_secrets(self._slots.run_of(slot), {}, owner=root)  # it waits for those of this start
        self._show_scratch(slot_scratch(slot), order.limits)
        with self._telling():
            self._docker.api.start(container)
        self._dress(container, order)
        self._tell_slot(slot, order)

    def refresh_secrets(self, order: MachineOrder) -> None:
        """Bring what a machine that runs is told up to its order."""
        container = self._taken.get((order.machine, order.life))
        if container is None:
            super().refresh_secrets(order)
            return
        start = (container.id, container.started_at)
        if start not in self._dressed:
            self._dress(container.id, order)
            self._dressed.add(start)
        self._tell_slot(container.slot, order)

    def tend_spares(self, wish: SpareWish) -> None:
        """Remove the spares that are of no use, and make one more where there are too few.

        Raises:
            EngineFault: the engine does not answer, or refuses.
        """
        self._remove_spoiled()
        spares = [each for each in self._list_spares() if each.slot not in self._taking]
        fitting = [each for each in spares if each.kind == wish.kind]
        for spare in spares:
            if spare not in fitting[: wish.number]:
                self._give_up(spare)
        self._clear_slots()
        is_wanted = len(fitting) < wish.number and bool(wish.image)
        if is_wanted and time.monotonic() >= self._make_at and self._can_wait(wish.image):
            self._make(wish)

    def _choose(self, order: MachineOrder) -> _Spare | None:
        is_plain = all(uuid.startswith(MOCK_DEVICE) for uuid in order.devices)
        if not is_plain or order.limits.open_files is not None:
            return None
        limits = order.limits
        kind = _tell_kind(order.image, limits.disk_bytes, limits.scratch_bytes)
        with self._lock:
            for spare in self._list_spares():
                is_free = spare.slot not in self._taking and not self._slots.is_taken(spare.slot)
                # The list may be older than its new name: what is taken says so for good.
                if spare.is_up and spare.kind == kind and is_free:
                    self._taking.add(spare.slot)
                    return spare
        return None

    def _take(self, spare: _Spare, order: MachineOrder) -> str | None:
        limits, home = order.limits, self._find_home(order)
        self._slots.take(spare.slot)
        with self._telling():
            self._limit(spare.id, limits)
            self._move_to_network(spare, order.tenant)
        self._slots.show_home(spare.slot, home, owner=self.find_root())
        self._dress(spare.id, order)
        with self._telling():
            self._docker.api.rename(spare.id, container_name(order))
        self._num_fallen = 0
        log.info("spare_taken", machine=order.machine, slot=spare.slot)
        return spare.id

    def _limit(self, container: str, limits: MachineLimits) -> None:
        """Give a container that runs other limits; docker-py knows not all of these."""
        body = {
            "Memory": limits.memory_bytes,
            "MemorySwap": limits.memory_bytes,
            "NanoCpus": int(limits.cpus * 1e9),
            "PidsLimit": limits.pids,
        }
        api = self._docker.api
        answer = api._post_json(api._url("/containers/{0}/update", container), data=body)
        api._raise_for_status(answer)

    def _move_to_network(self, spare: _Spare, tenant: str) -> None:
        network = self._ensure_network(tenant)
        try:
            self._docker.api.disconnect_container_from_network(spare.id, "none")
        except APIError as error:
            if error.status_code not in {403, 404}:  # it is on none already
                raise
        self._docker.api.connect_container_to_network(spare.id, network)

    def _dress(self, container: str, order: MachineOrder) -> None:
        """Give a container that runs what its making said otherwise, and each start says again."""
        with self._telling():
            told = self._docker.api.inspect_container(container)
        pid = str(told["State"]["Pid"])
        if pid == "0":  # it has ended since
            return
        _call("nsenter", "--target", pid, "--uts", "hostname", order.hostname)
        Path(told["HostnamePath"]).write_text(f"{order.hostname}\n", encoding="ascii")
        _rename_in_hosts(Path(told["HostsPath"]), told["Config"]["Hostname"], order.hostname)
        _call(sys.executable, shm.__file__, pid, str(order.limits.shm_bytes))

    def _tell_slot(self, slot: str, order: MachineOrder) -> None:
        if not order.secrets:  # orders kept over a restart hold none: it waits for the studio
            return
        devices = tell_devices(order.devices, order.device_percent)
        told = json.dumps(order.environment | devices, sort_keys=True)
        folder = self._slots.run_of(slot)
        write_secrets(folder, order.secrets | {TOLD: told}, owner=self.find_root())

    def _find_slot(self, container: str) -> str:
        with self._telling():
            labels = self._docker.api.inspect_container(container)["Config"]["Labels"]
        return str(labels.get(SLOT, ""))

    def _list_spares(self) -> list[_Spare]:
        """Return those that nobody has, spoiled ones too."""
        found = []
        for each in self._list_ours():
            if any(str(name).startswith(f"/{_NAME}") for name in each["Names"] or []):
                labels, is_up = each["Labels"], each["State"] == "running"
                found.append(_Spare(each["Id"], labels[SLOT], labels.get(_KIND, ""), is_up))
        return found

    def _remove_spoiled(self) -> None:
        """Remove what ended, or was being given to somebody when that was cut off."""
        with self._lock:
            # Before the list: what gets its name meanwhile is somebody's.
            taking = set(self._taking)
            for spare in self._list_spares():
                is_spoiled = not spare.is_up or self._slots.is_taken(spare.slot)
                if is_spoiled and spare.slot not in taking | self._taking:
                    if not spare.is_up:
                        self._note_fall()
                    self._remove_spare(spare)

    def _note_fall(self) -> None:
        """Wait before the next after a second that ended: its image may be none that lives."""
        self._num_fallen += 1
        if self._num_fallen > 1:
            self._make_at = time.monotonic() + _PAUSE_S

    def _give_up(self, spare: _Spare) -> None:
        """Remove one that nobody wants, unless somebody has taken it since it was listed."""
        with self._lock:
            if spare.slot in self._taking or self._slots.is_taken(spare.slot):
                return
            self._taking.add(spare.slot)
        try:
            self._remove_spare(spare)
        finally:
            self._taking.discard(spare.slot)

    def _remove_spare(self, spare: _Spare) -> None:
        with self._telling():
            try:
                self._docker.api.remove_container(spare.id, v=True, force=True)
            except NotFound:
                return

    def _clear_slots(self) -> None:
        self._slots.clear_all_but(self._list_slots())

    def _list_slots(self) -> set[str]:
        """Return those whose containers are there, or are being made."""
        coming = set(self._taking)  # before: what is made in between is in one of both
        return coming | super()._list_slots()

    def _can_wait(self, image: str) -> bool:
        with self._telling():
            try:
                labels = self._docker.api.inspect_image(image)["Config"]["Labels"] or {}
            except ImageNotFound:
                return False
        return bool(labels.get(_WAITS))

    def _make(self, wish: SpareWish) -> None:
        slot = f"s{secrets.token_hex(4)}"
        self._taking.add(slot)
        try:
            self._slots.lay_out(slot, owner=self.find_root())
            with self._telling():
                options = self._make_spare_options(slot, wish)
                made = self._docker.containers.create(wish.image, **options)
                self._docker.api.start(made.id)
        finally:
            self._taking.discard(slot)
        log.info("spare_made", slot=slot)

    def _make_spare_options(self, slot: str, wish: SpareWish) -> dict[str, Any]:
        disk = {"disk_bytes": wish.disk_bytes, "scratch_bytes": wish.scratch_bytes}
        limits = _LIMITS.model_copy(update=disk)
        root, run = self._slots.root_of(slot), self._slots.run_of(slot)
        own = [
            Mount("/root", str(root), type="bind", propagation="rslave"),
            Mount("/run/athanor", str(run), type="bind", read_only=True),
        ]
        return self._make_bounds(wish.image, limits) | {
            "name": f"{_NAME}{slot}",
            "hostname": slot,
            "labels": self._make_labels() | {SLOT: slot, _KIND: wish.kind},
            "environment": {"ATHANOR_SPARE": "1"},
            "network_mode": "none",
            "mounts": [*own, *self._make_common_mounts(slot_scratch(slot), limits)],
        }


def _rename_in_hosts(path: Path, old: str, new: str) -> None:
    """Have a container's own address under its new name; each start adds one under the old."""
    with path.open("rb") as file:
        data = file.read(_MOST_HOSTS_BYTES + 1)
    if len(data) > _MOST_HOSTS_BYTES:  # its owner has made something else of it
        return
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    if not any(line.endswith(f"\t{old}") for line in lines):
        return
    kept = [line for line in lines if not line.endswith(f"\t{new}")]
    renamed = [line.removesuffix(old) + new if line.endswith(f"\t{old}") else line for line in kept]
    text = "\n".join([*renamed, ""])
    path.write_text(text, encoding="utf-8", errors="surrogateescape")  # in place: it is mounted


def _tell_kind(image: str, disk_bytes: int | None, scratch_bytes: int | None) -> str:
    return f"{image} {disk_bytes} {scratch_bytes}"


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineFault(
            "command_failed", command=words[0], words=" ".join(done.stderr.split())[:200]
        )
