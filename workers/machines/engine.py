"""The node's Docker engine, as far as dev machines need it: what is there, and one deed at a time.

A machine's owner is root inside it; what keeps them in there is in `walls`.
"""

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import LogConfig, Mount

from workers.machines.binds import unbind
from workers.machines.layers import can_limit_layers, tell_layer_option
from workers.machines.orders import MachineLimits, MachineOrder
from workers.machines.plan import Container
from workers.machines.scratch import ScratchDisks
from workers.machines.walls import (
    NODE_LABEL,
    RUN_LABEL,
    TENANT_LABEL,
    DockerEngine,
    EngineFault,
    make_walls,
    network_name,
    tell_devices,
)

LABEL = "athanor.machine"
SLOT = "athanor.slot"
"""Of a container that was made before anybody wanted it. Labels stay: its name says whose it is."""
MACHINE_NAME = re.compile(r"athanor-(?P<machine>[a-z0-9][a-z0-9-]*)-(?P<life>[0-9]+)")
_LIFE = "athanor.life"
_PINNED = re.compile(r"([a-z0-9][A-Za-z0-9._:/-]*@)?sha256:[0-9a-f]{64}")
_STOP_S = 10
_LOGS = LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "2"})


@dataclass(frozen=True)
class Folders:
    """What of the node's disk machines see."""

    homes: Path
    """One folder for each drive."""
    share: Path
    secrets: Path
    """In memory: what is written here is never on a disk."""
    disks: Path | None = None
    """Where files with scratch disks are; None leaves /scratch without a limit."""

    @property
    def slots(self) -> Path:
        """One folder for each container that was made before anybody wanted it; in memory, too."""
        return self.secrets.with_name("slots")


@dataclass(frozen=True)
class Disks:
    """What containers have written, in bytes, and what is left of the node's disk for more."""

    layers: dict[str, int]
    """By container, what is in no volume."""
    scratch: dict[str, int]
    """By the name of the volume or of the file."""
    free_bytes: int


class MachineEngine(DockerEngine):
    """The containers of one node's dev machines."""

    def __init__(self, node: str, folders: Folders, *, host: str | None = None) -> None:
        """Take the engine at `host`, or at DOCKER_HOST. Nothing is asked of it yet."""
        super().__init__(node, host=host)
        self._folders = folders
        disks = folders.disks or folders.secrets.with_name("disks")
        self._scratch = ScratchDisks(disks, folders.secrets.with_name("scratch"))

    def list_containers(self, machines: Collection[str] | None = None) -> list[Container]:
        """Return this node's machines, or these of them, whatever state they are in."""
        found = []
        for each in self._list_ours():
            name = MACHINE_NAME.fullmatch(_name_in(each))
            if name is None or (machines is not None and name["machine"] not in machines):
                continue
            with self._telling():
                try:
                    found.append(_read(self._docker.api.inspect_container(each["Id"])))
                except NotFound:  # removed since it was listed
                    continue
        return found

    def _list_slots(self) -> set[str]:
        return {each["Labels"].get(SLOT, "") for each in self._list_ours()}

    def _list_ours(self) -> list[dict[str, Any]]:
        """Return machines and those that may become one; runs' containers are not among them."""
        with self._telling():
            wanted = {"label": f"{NODE_LABEL}={self._node}"}
            listed = self._docker.api.containers(all=True, filters=wanted)
        # A run's has the labels of its image, which may be a saved machine's.
        return [
            each
            for each in listed
            if {LABEL, SLOT} & set(each["Labels"]) and RUN_LABEL not in each["Labels"]
        ]

    def create(self, order: MachineOrder) -> str | None:
        """Make a machine's container, with its network, and return its id.

        One that is there already is the one, and None is returned: whoever made it starts it.
        """
        if not _PINNED.fullmatch(order.image):  # a tag may be another image tomorrow
            raise EngineFault("image_not_pinned", image=order.image)
        with self._telling():
            self._ensure_network(order.tenant)
            options = self._make_options(order)
            try:
                return str(self._docker.containers.create(order.image, **options).id)
            except ImageNotFound as error:
                raise EngineFault("image_missing", image=order.image) from error
            except APIError as error:
                if error.status_code != 409:  # of that name there is one: made a moment ago
                    raise
        return None

    def start(self, container: str, order: MachineOrder) -> None:
        """Start a container, its secrets as they are ordered; one that runs is left running."""
        self._show_scratch(scratch_name(order.machine, order.life), order.limits)
        with self._telling():
            self._write_secrets(order)
            self._docker.api.start(container)

    def refresh_secrets(self, order: MachineOrder) -> None:
        """Bring the secrets of a machine that runs up to its order; those that are right stay."""
        with self._telling():
            self._write_secrets(order)

    def measure_disks(self) -> Disks:
        """Return what all containers have written; the engine looks at every file for that."""
        with self._telling():
            told, about = self._docker.df(), self._docker.info()
            free = shutil.disk_usage(about["DockerRootDir"]).free
        volumes = {each["Name"]: each.get("UsageData") or {} for each in told["Volumes"] or []}
        scratch = {name: max(0, use.get("Size", 0)) for name, use in volumes.items()}
        return Disks(
            layers={each["Id"]: each.get("SizeRw", 0) for each in told["Containers"] or []},
            scratch=scratch | self._scratch.measure(),
            free_bytes=free,
        )

    def list_images(self) -> list[str]:
        """Return the ids and the digests that the engine's images can be ordered by."""
        with self._telling():
            listed = self._docker.api.images()
        named = {name for each in listed for name in each.get("RepoDigests") or []}
        return sorted({str(each["Id"]) for each in listed} | named)

    def stop(self, container: str) -> None:
        """Ask a container to end, and end it where it does not in ten seconds."""
        with self._telling():
            try:
                self._docker.api.stop(container, timeout=_STOP_S)
            except NotFound:
                return

    def remove(self, container: str) -> None:
        """Remove a container; its home and its scratch disk are no part of it."""
        with self._telling():
            try:
                self._docker.api.remove_container(container, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:  # it is being removed
                    raise

    def show_mounts(self) -> None:
        """Show on the node what was shown there before it ended."""
        self._scratch.show_all()

    def hide_mounts(self) -> None:
        """Leave nothing mounted on the node; machines that run keep what they have."""
        self._scratch.hide_all()
        for folder in (self._folders.homes, self._folders.share):
            unbind(folder)

    def remove_idle_scratch(self, lives: set[tuple[str, int]]) -> None:
        """Remove the scratch disks of all but these lives of machines."""
        kept = {scratch_name(machine, life) for machine, life in lives}
        kept |= {slot_scratch(slot) for slot in self._list_slots()}
        self._scratch.remove_all_but(kept)
        with self._telling():
            for volume in self._docker.volumes.list(
                filters={"label": f"{NODE_LABEL}={self._node}"}
            ):
                if volume.name not in kept:
                    try:
                        volume.remove()
                    except APIError as error:
                        if error.status_code not in {404, 409}:  # gone, or in use
                            raise

    def remove_idle_networks(self, tenants: set[str]) -> None:
        """Remove the networks of tenants who have no machine here any more."""
        with self._telling():
            for network in self._docker.networks.list(filters={"label": TENANT_LABEL}):
                labels = network.attrs.get("Labels") or {}
                if labels.get(NODE_LABEL) == self._node and labels.get(TENANT_LABEL) not in tenants:
                    try:
                        network.remove()
                    except APIError as error:
                        if error.status_code not in {403, 404}:  # in use, or gone
                            raise

    def forget_secrets(self, machines: set[str]) -> None:
        """Remove the secrets of all machines but these."""
        if self._folders.secrets.is_dir():
            for path in self._folders.secrets.iterdir():
                if path.name not in machines:
                    shutil.rmtree(path, ignore_errors=True)

    def list_unlimited(self) -> tuple[str, ...]:
        """Return what of the disk this node cannot limit: `layer`, `scratch`.

        Raises:
            EngineFault: the engine does not answer.
        """
        self.check()
        layer = () if can_limit_layers(self._info) else ("layer",)
        is_able = self._folders.disks is not None and self._scratch.is_able()
        return layer if is_able else (*layer, "scratch")

    def _make_options(self, order: MachineOrder) -> dict[str, Any]:
        labels = {LABEL: order.machine, _LIFE: str(order.life), SLOT: ""}
        return self._make_bounds(order.image, order.limits, order.devices) | {
            "name": container_name(order),
            "hostname": order.hostname,
            "labels": self._make_labels() | labels,
            "environment": order.environment | tell_devices(order.devices, order.device_percent),
            "network": network_name(order.tenant),
            "mounts": self._make_mounts(order),
        }

    def _make_labels(self) -> dict[str, str]:
        return {NODE_LABEL: self._node}

    def _make_bounds(
        self, image: str, limits: MachineLimits, devices: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return what keeps a container in: the same for every one."""
        disk = {"storage_opt": self._limit_layer(image, limits), "log_config": _LOGS}
        return make_walls(limits, devices) | disk

    def _show_scratch(self, name: str, limits: MachineLimits) -> Path | None:
        """Return the folder of a scratch disk with a limit; None where it has none."""
        if limits.scratch_bytes is None or self._folders.disks is None:
            return None
        if not self._scratch.is_able():
            return None
        return self._scratch.show(name, limits.scratch_bytes, owner=self.find_root())

    def _limit_layer(self, image: str, limits: MachineLimits) -> dict[str, str]:
        self.find_root()  # it has asked the engine what it is
        if limits.disk_bytes is None or not can_limit_layers(self._info):
            return {}
        image_bytes = int(self._docker.api.inspect_image(image)["Size"])
        return tell_layer_option(self._info, image_bytes, limits.disk_bytes)

    def _make_mounts(self, order: MachineOrder) -> list[Mount]:
        home = self._find_home(order)
        secrets = self._write_secrets(order)
        scratch = scratch_name(order.machine, order.life)
        own = [
            Mount("/root", str(home), type="bind", propagation="rprivate"),
            Mount("/run/athanor", str(secrets), type="bind", read_only=True),
        ]
        return [*own, *self._make_common_mounts(scratch, order.limits)]

    def _make_common_mounts(self, scratch: str, limits: MachineLimits) -> list[Mount]:
        shown = self._show_scratch(scratch, limits)
        if shown is None:
            self._docker.volumes.create(scratch, labels=self._make_labels())  # or it is there
            mounts = [Mount("/scratch", scratch, type="volume")]
        else:
            mounts = [Mount("/scratch", str(shown), type="bind", propagation="rprivate")]
        if self._folders.share.is_dir():
            share = str(self._folders.share)
            mounts.append(Mount("/share", share, type="bind", read_only=True))
        return mounts

    def _write_secrets(self, order: MachineOrder) -> Path:
        self._folders.secrets.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder = self._folders.secrets / order.machine
        write_secrets(folder, order.secrets, owner=self.find_root())
        return folder

    def _find_home(self, order: MachineOrder) -> Path:
        home = self._folders.homes / order.home / "home"
        if not home.is_dir() or home.is_symlink():
            raise EngineFault("drive_missing", drive=order.home)
        owner, root = home.stat().st_uid, self.find_root()
        if owner != root:
            raise EngineFault("drive_of_another", drive=order.home, owner=owner, root=root)
        return home


def scratch_name(machine: str, life: int) -> str:
    """Return the volume or file that is a machine's scratch disk, where it was none's before."""
    return f"athanor-{machine}-{life}"


def slot_scratch(slot: str) -> str:
    """Return the scratch disk of a container that was made before anybody wanted it."""
    return f"athanor-slot-{slot}"


def container_name(order: MachineOrder) -> str:
    """Return the name that makes a container this machine's."""
    return f"athanor-{order.machine}-{order.life}"


def _name_in(listed: dict[str, Any]) -> str:
    """Return a container's name of a list of the engine's; one that is being removed has none."""
    return next((str(name).removeprefix("/") for name in listed["Names"] or []), "")


def _read(body: dict[str, Any]) -> Container:
    state, labels = body["State"], body["Config"]["Labels"]
    networks = body["NetworkSettings"]["Networks"].values()
    name = MACHINE_NAME.fullmatch(body["Name"].removeprefix("/"))
    assert name is not None, "only these are read"
    return Container(
        id=body["Id"],
        machine=name["machine"],
        life=int(name["life"]),
        slot=labels.get(SLOT, ""),
        status=state["Status"],
        started_at=_read_time(state["StartedAt"]),
        ended_at=_read_time(state["FinishedAt"]),
        exit_code=state["ExitCode"],
        was_out_of_memory=bool(state.get("OOMKilled")),
        address=next((each["IPAddress"] for each in networks if each["IPAddress"]), ""),
        pid=int(state.get("Pid") or 0),
    )


def _read_time(text: str) -> float | None:
    """Read the engine's time, which has nine digits of a second; the year 1 is never."""
    if text.startswith("0001-"):
        return None
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


def _holds(path: Path, content: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == content
    except (OSError, UnicodeDecodeError):
        return False


def write_secrets(folder: Path, secrets: Mapping[str, str], *, owner: int) -> None:
    """Put a machine's secrets where only its root sees them, and take away what is none now."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, owner, owner)
    for path in folder.iterdir():
        if path.name not in secrets:
            path.unlink()
    for name, content in secrets.items():
        if _holds(folder / name, content):
            continue
        if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,62}", name):
            raise EngineFault("machine_order_unread", fields="secrets")
        partial = folder / f".{name}.part"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), owner, owner)
            file.write(content)
        partial.replace(folder / name)
