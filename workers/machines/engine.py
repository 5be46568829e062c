"""The node's Docker engine, as far as dev machines need it: what is there, and one deed at a time.

A machine's owner is root inside it; what keeps them in there is in `walls`.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import LogConfig, Mount

from workers.machines.orders import MachineOrder
from workers.machines.plan import Container
from workers.machines.walls import (
    NODE_LABEL,
    TENANT_LABEL,
    DockerEngine,
    EngineFault,
    make_walls,
    network_name,
    tell_devices,
)

LABEL = "athanor.machine"
_LIFE = "athanor.life"
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


@dataclass(frozen=True)
class Disks:
    """What containers have written, in bytes, and what is left of the node's disk for more."""

    layers: dict[str, int]
    """By container, what is in no volume."""
    volumes: dict[str, int]
    """By name."""
    free_bytes: int


class MachineEngine(DockerEngine):
    """The containers of one node's dev machines."""

    def __init__(self, node: str, folders: Folders, *, host: str | None = None) -> None:
        """Take the engine at `host`, or at DOCKER_HOST. Nothing is asked of it yet."""
        super().__init__(node, host=host)
        self._folders = folders

    def list_containers(self) -> list[Container]:
        """Return this node's machines, whatever state they are in."""
        wanted = {"label": [LABEL, f"{NODE_LABEL}={self._node}"]}
        with self._telling():
            listed = self._docker.api.containers(all=True, filters=wanted)
        found = []
        for each in listed:
            with self._telling():
                try:
                    found.append(_read(self._docker.api.inspect_container(each["Id"])))
                except NotFound:  # removed since it was listed
                    continue
        return found

    def create(self, order: MachineOrder) -> str | None:
        """Make a machine's container, with its network, and return its id.

        One that is there already is the one, and None is returned: whoever made it starts it.
        """
        with self._telling():
            self._ensure_network(order.tenant)
            options = self._make_options(order)
            try:
                return str(self._docker.containers.create(order.image, **options).id)
            except ImageNotFound as error:
                raise EngineFault(
                    f"The image {order.image} is not on this node: build or pull it there."
                ) from error
            except APIError as error:
                if error.status_code != 409:  # of that name there is one: made a moment ago
                    raise
        return None

    def start(self, container: str, order: MachineOrder) -> None:
        """Start a container, its secrets as they are ordered; one that runs is left running."""
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
        return Disks(
            layers={each["Id"]: each.get("SizeRw", 0) for each in told["Containers"] or []},
            volumes={name: max(0, use.get("Size", 0)) for name, use in volumes.items()},
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

    def remove_idle_scratch(self, lives: set[tuple[str, int]]) -> None:
        """Remove the scratch disks of all but these lives of machines."""
        kept = {scratch_name(machine, life) for machine, life in lives}
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

    def _make_options(self, order: MachineOrder) -> dict[str, Any]:
        return make_walls(order.limits, order.devices) | {
            "name": f"athanor-{order.machine}-{order.life}",
            "hostname": order.hostname,
            "labels": {LABEL: order.machine, NODE_LABEL: self._node, _LIFE: str(order.life)},
            "environment": order.environment | tell_devices(order.devices, order.device_percent),
            "network": network_name(order.tenant),
            "mounts": self._make_mounts(order),
            "log_config": _LOGS,
        }

    def _make_mounts(self, order: MachineOrder) -> list[Mount]:
        home = self._find_home(order)
        secrets = self._write_secrets(order)
        mounts = [
            Mount("/root", str(home), type="bind", propagation="rprivate"),
            Mount("/run/athanor", str(secrets), type="bind", read_only=True),
            Mount("/scratch", self._ensure_scratch(order), type="volume"),
        ]
        if self._folders.share.is_dir():
            share = str(self._folders.share)
            mounts.append(Mount("/share", share, type="bind", read_only=True))
        return mounts

    def _write_secrets(self, order: MachineOrder) -> Path:
        self._folders.secrets.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder = self._folders.secrets / order.machine
        _write_secrets(folder, order.secrets, owner=self.find_root())
        return folder

    def _find_home(self, order: MachineOrder) -> Path:
        home = self._folders.homes / order.home / "home"
        if not home.is_dir() or home.is_symlink():
            raise EngineFault(f"The drive {order.home} is not on this node.")
        owner, root = home.stat().st_uid, self.find_root()
        if owner != root:
            raise EngineFault(
                f"The drive {order.home} belongs to user {owner} and machines' root is {root} here:"
                f" set STUDIO_DRIVE_OWNER={root} for the studio, and `chown -R` the drives to it."
            )
        return home

    def _ensure_scratch(self, order: MachineOrder) -> str:
        name = scratch_name(order.machine, order.life)  # or the one that is there
        self._docker.volumes.create(name, labels={NODE_LABEL: self._node})
        return name


def scratch_name(machine: str, life: int) -> str:
    """Return the volume that is a machine's scratch disk."""
    return f"athanor-{machine}-{life}"


def _read(body: dict[str, Any]) -> Container:
    state, labels = body["State"], body["Config"]["Labels"]
    networks = body["NetworkSettings"]["Networks"].values()
    life = labels.get(_LIFE, "")
    return Container(
        id=body["Id"],
        machine=labels[LABEL],
        life=int(life) if life.isdigit() else 0,
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


def _write_secrets(folder: Path, secrets: Mapping[str, str], *, owner: int) -> None:
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
            raise EngineFault(f"{name[:40]!r} cannot be the name of a secret.")
        partial = folder / f".{name}.part"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), owner, owner)
            file.write(content)
        partial.replace(folder / name)
