"""What dev machines and scripts share of the node's Docker engine: who asks it, and the walls.

Whoever's code runs in a container is root inside it. The engine runs with a user namespace
(`userns-remap`), so that this root is nobody on the node, and nothing in a container makes it more.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.types import DeviceRequest, Ulimit
from requests.exceptions import RequestException

from workers.errors import WorkerError
from workers.machines.orders import MOCK_DEVICE, MachineLimits
from workers.sentences import NODE_SENTENCES

NODE_LABEL, TENANT_LABEL, RUN_LABEL = "athanor.node", "athanor.tenant", "athanor.run"
BRIDGE_PREFIX = "ath-"
"""Of the interfaces of tenants' networks: what the firewall knows them by."""
_TIMEOUT_S = 60
# What a root of one's own needs to install packages, change users, run sshd and listen on port 80.
# Not among them: NET_RAW, MKNOD, AUDIT_WRITE, SETFCAP and all that Docker leaves out itself.
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"]
_CAPABILITIES += ["NET_BIND_SERVICE", "SYS_CHROOT"]


_NOBODY_LISTENS = ("FileNotFoundError", "ConnectionRefusedError")
"""What the engine's client wraps, and only names, where nothing listens at the engine's address."""


class EngineFault(WorkerError):
    """The Docker engine, or the node around it, cannot do what is asked; a sentence for people."""

    def __init__(self, code: str, **params: Any) -> None:
        """Say the sentence of a code, see `workers.sentences`."""
        super().__init__(NODE_SENTENCES.say(code, **params))
        self.code = code


class EngineAway(EngineFault):
    """No engine answers, or none to the end: what it runs may well run on."""


class DockerEngine:
    """One node's Docker engine, asked by whoever runs containers on it."""

    timeout_s = _TIMEOUT_S
    """How long an answer is waited for."""

    def __init__(self, node: str, *, host: str | None = None) -> None:
        """Take the engine at `host`, or at DOCKER_HOST. Nothing is asked of it yet."""
        self._node = node
        self._host = host
        self._client: docker.DockerClient | None = None
        self._root: int | None = None
        self._info: dict[str, Any] = {}
        """What it said of itself when its root was found."""

    def tell_version(self) -> str:
        """Return the engine's version.

        Raises:
            EngineFault: none answers; so do the methods below.
        """
        with self._telling():
            return str(self._docker.version()["Version"])

    def check(self) -> None:
        """Refuse an engine on which a container's root would be the node's.

        Raises:
            EngineFault: it is one, or none answers.
        """
        with self._telling():
            self.find_root()

    def find_root(self) -> int:
        """Return who a container's root is on this node.

        Raises:
            EngineFault: it would be the node's own root.
        """
        if self._root is not None:
            return self._root
        told = self._info = self._docker.info()
        remapped = re.search(r"/(\d+)\.\d+$", told["DockerRootDir"])
        if remapped is None or not any("userns" in each for each in told["SecurityOptions"]):
            raise EngineFault("no_user_namespaces")
        self._root = int(remapped[1])
        return self._root

    def _ensure_network(self, tenant: str) -> str:
        name = network_name(tenant)
        if self._has_network(name):
            return name
        try:
            self._docker.networks.create(
                name,
                driver="bridge",
                check_duplicate=True,
                labels={NODE_LABEL: self._node, TENANT_LABEL: tenant},
                options={"com.docker.network.bridge.name": bridge_name(tenant)},
            )
        except APIError:
            if not self._has_network(name):  # nobody else has made it in this moment
                raise
        return name

    def _has_network(self, name: str) -> bool:
        return bool(self._docker.networks.list(names=[f"^{name}$"]))

    @property
    def _docker(self) -> docker.DockerClient:
        if self._client is None:
            if self._host is None:
                self._client = docker.from_env(timeout=self.timeout_s)
            else:
                self._client = docker.DockerClient(base_url=self._host, timeout=self.timeout_s)
        return self._client

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what the engine's client raises into one sentence."""
        try:
            yield
        except (DockerException, RequestException, OSError) as error:
            if not isinstance(error, APIError):  # a new connection next time
                self._client = self._root = None
            told = error.explanation if isinstance(error, APIError) else str(error)
            if any(name in str(told) for name in _NOBODY_LISTENS):
                raise EngineAway("engine_away") from error
            sentence = " ".join(str(told).split())[:300]
            fault = EngineFault if isinstance(error, APIError) else EngineAway
            raise fault("engine_says", words=sentence) from error


def bridge_name(tenant: str) -> str:
    """Return the interface of a tenant's network: 15 letters are all that Linux allows."""
    return BRIDGE_PREFIX + hashlib.sha256(tenant.encode()).hexdigest()[:11]


def network_name(tenant: str) -> str:
    """Return the engine's name of a tenant's network."""
    return f"athanor-{tenant}"


def make_walls(limits: MachineLimits, devices: Sequence[str]) -> dict[str, Any]:
    """Return what every container of users is made with: its limits and what is kept from it."""
    files = limits.open_files
    return {
        "device_requests": _request_devices(devices),
        "init": True,
        "nano_cpus": int(limits.cpus * 1e9),
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "shm_size": limits.shm_bytes,
        "pids_limit": limits.pids,
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            *([] if files is None else [Ulimit(name="nofile", soft=files, hard=files)]),
        ],
        "cap_drop": ["ALL"],
        "cap_add": _CAPABILITIES,
        "security_opt": ["no-new-privileges:true"],
        "restart_policy": {"Name": "no"},
        "detach": True,
    }


def tell_devices(devices: Sequence[str], percent: int) -> dict[str, str]:
    """Return what programs in a container are told of its devices.

    A share is cooperative: the image's Python has PyTorch keep to it, see its sitecustomize.py, and
    nothing else is stopped. No variable of PyTorch's says it: those before 2.10 fail at the word.
    """
    if not devices:
        return {}
    return {"ATHANOR_DEVICES": ",".join(devices), "ATHANOR_DEVICE_PERCENT": str(percent)}


def _request_devices(devices: Sequence[str]) -> list[DeviceRequest]:
    real = [uuid for uuid in devices if not uuid.startswith(MOCK_DEVICE)]
    return [DeviceRequest(device_ids=real, capabilities=[["gpu"]])] if real else []
