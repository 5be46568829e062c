"""The containers of engines, at the node's Docker engine."""

import os
import re
from collections.abc import Sequence
from typing import Any

from docker.errors import ImageNotFound
from docker.types import Mount

from workers.engines.box import RUN_PLACE, EngineBox, Shown
from workers.inventory import read_memory_bytes
from workers.machines.orders import MachineLimits
from workers.machines.walls import EngineFault, make_walls
from workers.orders import RunOrder
from workers.scripts.containers import LOG_PLACE, RunEngine
from workers.sentences import NODE_SENTENCES

ENGINE_LABEL = "athanor.engine"
"""Of images that carry the engine: `workers/images/machine/Dockerfile` makes one."""
USER = 1000
"""Whom an engine runs as: nobody's root, not even of its container."""
_PYTHON = "/opt/python/bin/python"
_TOLD_PLACE, _TOLD_FD = "/run/athanor/told", 3
_BEGIN = f'exec >{LOG_PLACE} 2>&1 {_TOLD_FD}>{_TOLD_PLACE}; exec "$@"'
_GIB = 2**30
_TMP_BYTES = 4 * _GIB
_ENVIRONMENT = {
    "ATHANOR_EVENT_FD": str(_TOLD_FD),
    "HOME": "/tmp",
    "USER": "athanor",
    "HF_HOME": "/tmp/huggingface",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

_VERSION = re.compile(r"[A-Za-z0-9.+!_-]{1,40}")
_VERSION_WITHIN_S = 60
_ASKED = {
    "user": f"{USER}:{USER}",
    "cap_add": [],
    "read_only": True,
    "entrypoint": [_PYTHON, "-m", "engine", "--version"],
    "command": [],
    "environment": {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"},
    "network_mode": "none",
    "healthcheck": {"test": ["NONE"]},
}


class EngineContainers(RunEngine):
    """The containers of one node's engines."""

    def __init__(self, node: str, image: str, *, host: str | None = None) -> None:
        """Take the node's name and the image's; `host` None is DOCKER_HOST."""
        super().__init__(node, host=host)
        self._image = image
        self._versions: dict[str, str] = {}
        """By image."""

    def find_user(self) -> int:
        """Return whom engines run as, as the node counts users.

        Raises:
            EngineFault: containers' users would be the node's own; so do the methods below.
        """
        with self._telling():
            return self.find_root() + USER

    def find_image(self) -> str:
        """Return the id of the image that engines run in."""
        with self._telling():
            try:
                found = self._docker.api.inspect_image(self._image)
            except ImageNotFound as error:
                raise EngineFault("engine_image_missing", image=self._image) from error
        if not (found["Config"].get("Labels") or {}).get(ENGINE_LABEL):
            raise EngineFault("engine_image_empty", image=self._image)
        return str(found["Id"])

    def explain(self) -> str:
        """Return in a sentence why no engine can run in a container here; blank where one can."""
        if os.geteuid() != 0:
            return NODE_SENTENCES.say("engines_need_root")
        try:
            self.find_user()
            self.find_image()
        except EngineFault as error:
            return str(error)
        return ""

    def compare(self, version: str) -> str:
        """Return in a sentence how the image's Athanor is another than the node's, `version`;
        blank where it is the same.
        """
        image = self.find_image()
        if image not in self._versions:
            self._versions[image] = self._ask_version(image)
        found = self._versions[image]
        if found == version:
            return ""
        if not found:
            return NODE_SENTENCES.say("engine_version_unknown", image=self._image)
        return NODE_SENTENCES.say(
            "engine_version_differs", image=self._image, found=found, version=version
        )

    def _ask_version(self, image: str) -> str:
        """Return what the image's engine says that it is; blank where it says nothing."""
        limits = MachineLimits(cpus=1, memory_bytes=_GIB, pids=64)
        with self._telling():
            made = self._docker.containers.create(image, **make_walls(limits, ()) | _ASKED)
            try:
                made.start()
                is_well = made.wait(timeout=_VERSION_WITHIN_S)["StatusCode"] == 0
                said = made.logs(stdout=True, stderr=False).decode("utf-8", "replace").strip()
            finally:
                made.remove(force=True)
        return said if is_well and _VERSION.fullmatch(said) else ""

    def start(
        self, order: RunOrder, box: EngineBox, shown: Shown, *, image: str, devices: Sequence[str]
    ) -> str:
        """Make an engine's container and start it; return its id."""
        with self._telling():
            return self._make(image, self._make_options(order, box, shown, devices))

    def _make_options(
        self, order: RunOrder, box: EngineBox, shown: Shown, devices: Sequence[str]
    ) -> dict[str, Any]:
        limits = limit(order)
        return (
            make_walls(limits, devices)
            | self._name(order)
            | {
                "hostname": "engine",
                "user": f"{USER}:{USER}",
                "cap_add": [],
                "read_only": True,
                "tmpfs": {"/tmp": f"size={min(_TMP_BYTES, limits.memory_bytes // 2)},mode=1777"},
                "entrypoint": ["/bin/sh", "-c", _BEGIN, "athanor"],
                "command": [_PYTHON, "-m", "engine", "work", RUN_PLACE],
                "working_dir": "/tmp",
                "environment": _ENVIRONMENT | _tell_threads(order),
                "network_mode": "none",
                "mounts": _make_mounts(box, shown),
            }
        )


def limit(order: RunOrder) -> MachineLimits:
    """Return how much of the node a run may use: what it is charged for."""
    memory_bytes = order.memory_bytes or read_memory_bytes()
    return MachineLimits(
        cpus=order.num_threads or len(os.sched_getaffinity(0)),
        memory_bytes=max(64 * 2**20, memory_bytes),
        shm_bytes=max(64 * 2**20, min(memory_bytes // 2, 16 * _GIB)),
    )


def _tell_threads(order: RunOrder) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(order.num_threads)} if order.num_threads else {}


def _make_mounts(box: EngineBox, shown: Shown) -> list[Mount]:
    pipes = {LOG_PLACE: box.shown / box.log.name, _TOLD_PLACE: box.shown / box.second.name}
    written = [
        Mount(place, str(source), type="bind", propagation="rprivate")
        for place, source in (pipes | shown.written).items()
    ]
    read = [
        Mount(place, str(source), type="bind", read_only=True)
        for place, source in shown.read.items()
    ]
    return written + read
