"""The containers of runs, at the node's Docker engine: what all have, and those of scripts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import LogConfig, Mount

from engine.specs import ScriptSpec
from workers.machines.layers import can_limit_layers, tell_layer_option
from workers.machines.walls import (
    NODE_LABEL,
    DockerEngine,
    EngineFault,
    make_walls,
    network_name,
    tell_devices,
)
from workers.orders import ContainerOrder, RunOrder
from workers.scripts.box import Box

LABEL = "athanor.run"
LOG_PLACE, METRICS_PLACE, OUTPUT_PLACE = "/run/athanor/log", "/run/athanor/metrics", "/output"
_PLACES = {"home": "/root", "code": "/code"}
# Every word of the script goes into the pipe, those of a shell that does not find it too. The
# image's profile says where its Python is, as it does to a dev machine's terminal.
_BEGIN = (
    f"exec >{LOG_PLACE} 2>&1; if [ -r /etc/profile.d/athanor.sh ]; then "
    '. /etc/profile.d/athanor.sh; fi; exec "$@"'
)


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    was_out_of_memory: bool
    is_gone: bool = False
    """Somebody removed it."""


class RunEngine(DockerEngine):
    """The containers of one node's runs.

    Whatever it is asked, EngineFault is raised where the engine does not answer, or refuses.
    """

    def look(self, container: str) -> Ended | None:
        """Return how a container ended; None while it runs."""
        with self._telling():
            try:
                state = self._docker.api.inspect_container(container)["State"]
            except NotFound:
                return Ended(137, was_out_of_memory=False, is_gone=True)
        if state["Running"] or state["Status"] == "created":
            return None
        return Ended(state["ExitCode"], was_out_of_memory=bool(state.get("OOMKilled")))

    def send(self, container: str, signal: str) -> None:
        """Signal a container; one that has ended is left alone."""
        with self._telling():
            try:
                self._docker.api.kill(container, signal)
            except APIError as error:
                if error.status_code not in {404, 409}:
                    raise

    def remove(self, run_id: str) -> None:
        """Remove whatever containers a run has, running or not."""
        wanted = {"label": [f"{LABEL}={run_id}", f"{NODE_LABEL}={self._node}"]}
        with self._telling():
            for each in self._docker.api.containers(all=True, filters=wanted):
                try:
                    self._docker.api.remove_container(each["Id"], v=True, force=True)
                except APIError as error:
                    if error.status_code not in {404, 409}:  # gone, or going
                        raise

    def _make(self, image: str, options: dict[str, Any]) -> str:
        """Make a container and start it; return its id."""
        try:
            made = self._docker.containers.create(image, **options)
        except ImageNotFound as error:
            raise EngineFault("image_missing", image=image) from error
        self._docker.api.start(made.id)
        return str(made.id)

    def _name(self, order: RunOrder) -> dict[str, Any]:
        """Return what a run's container is known by; nothing of its words is kept by the engine."""
        return {
            "name": f"athanor-run-{order.run_id}",
            "labels": {LABEL: order.run_id, NODE_LABEL: self._node},
            "log_config": LogConfig(type="none"),
            "healthcheck": {"test": ["NONE"]},
        }


class ScriptEngine(RunEngine):
    """The containers of one node's scripts."""

    def prepare(self, order: ContainerOrder) -> int:
        """Refuse an engine without walls, make the tenant's network, and return who root is."""
        with self._telling():
            self._ensure_network(order.tenant)
            return self.find_root()

    def start(self, order: RunOrder, box: Box, inputs: dict[str, Path]) -> str:
        """Make a script's container and start it; return its id."""
        assert order.container is not None
        with self._telling():
            self._ensure_network(order.container.tenant)
            return self._make(order.container.image, self._make_options(order, box, inputs))

    def _limit_layer(self, container: ContainerOrder) -> dict[str, str]:
        """Return what limits the container's own layer, where the engine's storage can."""
        self.find_root()  # it has asked the engine what it is
        if container.limits.disk_bytes is None or not can_limit_layers(self._info):
            return {}
        try:
            image_bytes = int(self._docker.api.inspect_image(container.image)["Size"])
        except ImageNotFound:  # said as the container is made
            return {}
        return tell_layer_option(self._info, image_bytes, container.limits.disk_bytes)

    def _make_options(self, order: RunOrder, box: Box, inputs: dict[str, Path]) -> dict[str, Any]:
        spec, container = order.spec, order.container
        assert isinstance(spec, ScriptSpec) and container is not None
        walls = make_walls(container.limits, container.devices) | self._name(order)
        return walls | {
            "hostname": "script",
            "storage_opt": self._limit_layer(container),
            "entrypoint": ["/bin/sh", "-c", _BEGIN, "athanor"],
            "command": list(spec.command),
            "working_dir": _find_start(spec),
            "environment": spec.environment | _tell(order, container),
            "network": network_name(container.tenant),
            "mounts": _make_mounts(container, box, inputs),
        }


def _find_start(spec: ScriptSpec) -> str:
    start = _PLACES["code" if spec.code else "home"]
    return str(Path(start, spec.working_dir))


def _tell(order: RunOrder, container: ContainerOrder) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": str(order.num_threads)} if order.num_threads else {}
    given = {name: value for name, value in threads.items() if name not in _names(order)}
    return (
        given
        | tell_devices(container.devices, 100)
        | {
            "ATHANOR_JOB": order.job_id,
            "ATHANOR_RUN": order.run_id,
            "ATHANOR_METRICS": METRICS_PLACE,
            "ATHANOR_OUTPUT": OUTPUT_PLACE,
        }
    )


def _names(order: RunOrder) -> set[str]:
    return set(order.spec.environment) if isinstance(order.spec, ScriptSpec) else set()


def _make_mounts(container: ContainerOrder, box: Box, inputs: dict[str, Path]) -> list[Mount]:
    own = {
        LOG_PLACE: box.shown / "log",
        METRICS_PLACE: box.shown / box.second.name,
        OUTPUT_PLACE: box.output,
    }
    if container.home is not None:
        own[_PLACES["home"]] = box.home
    written = [
        Mount(place, str(source), type="bind", propagation="rprivate")
        for place, source in own.items()
    ]
    read = [
        Mount(place, str(source), type="bind", read_only=True) for place, source in inputs.items()
    ]
    return written + read
