"""All that a node knows, by variables: read once, refused at start when they cannot be right."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from workers.errors import WorkerError
from workers.machines.orders import IMAGE

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})|[0-9a-fA-F:]+")
_RUNTIMES = ("process", "docker")
_BROKERS = ("redis", "rediss", "redis+socket", "unix")


@dataclass(frozen=True)
class NodeConfig:
    """Who this node is, and whom it may call."""

    studio_url: str
    node_token: str
    broker_url: str
    node_name: str
    node_dir: Path
    node_host: str = "127.0.0.1"
    """Address at which the studio reaches a model server of this node."""
    cache_gib: int = 0
    """How much the cache of models and datasets may hold; 0 is half of its disk."""
    drive_dir: Path | None = None
    """The studio's folder of drives, as it is on this node; None where it has none."""
    relay_port: int = 0
    """Where the studio reaches dev machines of this node; 0 takes any free one."""
    spare_machines: int | None = None
    """How many containers of the usual image are kept ready for whoever makes a dev machine; None
    is one, and none on a node of little memory."""
    mock_devices: int = 0
    """GPUs to say that it has although it has not, for trying out how they are given out."""
    engine_image: str = ""
    """The image that engines run in, each in a container; blank runs them as processes."""
    lmdeploy_dir: Path | None = None
    """The environment that `python -m engine lmdeploy install` made here; None has no LMDeploy."""
    model_servers: tuple[str, ...] = ()
    """Addresses that a deployment may ask instead of loading a model: what people name there is
    asked from this node's network, so it is the node's owner who names them."""


def read_config(environ: Mapping[str, str] | None = None) -> NodeConfig:
    """Read the node's settings from the environment.

    Raises:
        WorkerError: a variable is missing or cannot be right; the message names it and the mend.
    """
    env = os.environ if environ is None else environ
    return NodeConfig(
        studio_url=_read_studio_url(env),
        node_token=_read_token(env),
        broker_url=_read_broker_url(env),
        node_name=_read_name(env),
        node_dir=_read_dir(env),
        node_host=_read_host(env),
        cache_gib=_read_whole(
            env, "ATHANOR_NODE_CACHE_GIB", 10**7, "a whole number of GiB, or 0 for half of the disk"
        ),
        drive_dir=_read_drive_dir(env),
        relay_port=_read_whole(
            env, "ATHANOR_RELAY_PORT", 65535, "a port that is free, or 0 for any"
        ),
        spare_machines=_read_spares(env),
        mock_devices=_read_whole(
            env, "ATHANOR_MOCK_DEVICES", 64, "how many GPUs to make believe, at most 64"
        ),
        engine_image=_read_engine_image(env),
        lmdeploy_dir=_read_lmdeploy_dir(env),
        model_servers=_read_model_servers(env),
    )


def _require(env: Mapping[str, str], name: str, mend: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise WorkerError(f"{name} is not set: {mend}.")
    return value


def _read_studio_url(env: Mapping[str, str]) -> str:
    mend = "write the studio's address, such as https://studio.example.org"
    value = _require(env, "ATHANOR_STUDIO_URL", mend).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WorkerError(f"ATHANOR_STUDIO_URL is {value!r}: {mend}.")
    return value


def _read_token(env: Mapping[str, str]) -> str:
    mend = "write what `manage.py node_token NAME` printed, or a file with it in its _FILE variable"
    if path := env.get("ATHANOR_NODE_TOKEN_FILE", "").strip():
        try:
            token = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WorkerError(f"ATHANOR_NODE_TOKEN_FILE cannot be read: {error}.") from error
    else:
        token = _require(env, "ATHANOR_NODE_TOKEN", mend)
    if not token.startswith("node_"):
        raise WorkerError(f"ATHANOR_NODE_TOKEN does not start with `node_`: {mend}.")
    return token


def _read_broker_url(env: Mapping[str, str]) -> str:
    mend = "write the address of the studio's Redis, such as redis://10.0.0.5:6379/0"
    value = _require(env, "ATHANOR_BROKER_URL", mend)
    scheme, colon, _ = value.partition("://")
    if not colon or scheme not in _BROKERS:
        raise WorkerError(f"ATHANOR_BROKER_URL has the scheme {scheme[:16]!r}: {mend}.")
    return "redis+socket" + value[len("unix") :] if scheme == "unix" else value


def _read_name(env: Mapping[str, str]) -> str:
    mend = "write the name the studio gave this node: letters, digits, - and _, at most 63"
    value = _require(env, "ATHANOR_NODE_NAME", mend)
    if not _NAME.fullmatch(value):
        raise WorkerError(f"ATHANOR_NODE_NAME is {value!r}: {mend}.")
    return value


def _read_dir(env: Mapping[str, str]) -> Path:
    mend = "write an absolute path on a local disk; run directories and caches go there"
    value = Path(_require(env, "ATHANOR_NODE_DIR", mend))
    if not value.is_absolute():
        raise WorkerError(f"ATHANOR_NODE_DIR is {str(value)!r}: {mend}.")
    return value


def _read_host(env: Mapping[str, str]) -> str:
    value = env.get("ATHANOR_NODE_HOST", "").strip() or "127.0.0.1"
    if not _HOST.fullmatch(value):
        raise WorkerError(
            f"ATHANOR_NODE_HOST is {value!r}: write a name or an address of this machine alone, "
            "such as 10.0.0.7, without scheme or port."
        )
    return value


def _read_drive_dir(env: Mapping[str, str]) -> Path | None:
    value = env.get("ATHANOR_DRIVE_DIR", "").strip()
    if not value:
        return None
    if not Path(value).is_absolute():
        raise WorkerError(
            f"ATHANOR_DRIVE_DIR is {value!r}: write the absolute path of the studio's drives."
        )
    return Path(value)


def _read_lmdeploy_dir(env: Mapping[str, str]) -> Path | None:
    value = env.get("ATHANOR_LMDEPLOY_DIR", "").strip()
    if value and not Path(value).is_absolute():
        raise WorkerError(
            f"ATHANOR_LMDEPLOY_DIR is {value!r}: write the absolute path of the folder that "
            "`python -m engine lmdeploy install` made."
        )
    return Path(value) if value else None


def _read_model_servers(env: Mapping[str, str]) -> tuple[str, ...]:
    servers = tuple(env.get("ATHANOR_MODEL_SERVERS", "").replace(",", " ").split())
    for server in servers:
        if not server.startswith(("http://", "https://")):
            raise WorkerError(
                f"ATHANOR_MODEL_SERVERS has {server!r}: write addresses up to /v1, such as "
                "http://10.0.0.5:8000/v1, with commas between them."
            )
    return servers


def _read_spares(env: Mapping[str, str]) -> int | None:
    name = "ATHANOR_SPARE_MACHINES"
    if not env.get(name, "").strip():
        return None
    return _read_whole(env, name, 100, "how many spare dev machines to keep, at most 100")


def _read_engine_image(env: Mapping[str, str]) -> str:
    runtime = env.get("ATHANOR_RUNTIME", "").strip() or "process"
    image = env.get("ATHANOR_ENGINE_IMAGE", "").strip()
    if runtime not in _RUNTIMES:
        raise WorkerError(f"ATHANOR_RUNTIME is {runtime!r}: write process or docker.")
    if runtime == "process":
        return ""
    if not re.fullmatch(IMAGE, image):
        said = f"is {image!r}" if image else "is not set"
        raise WorkerError(
            f"ATHANOR_ENGINE_IMAGE {said}: with ATHANOR_RUNTIME=docker, write the id or the digest "
            "of an image that carries the engine."
        )
    return image


def _read_whole(env: Mapping[str, str], name: str, most: int, mend: str) -> int:
    value = env.get(name, "").strip() or "0"
    if not (value.isascii() and value.isdigit() and len(value) < 9 and int(value) <= most):
        raise WorkerError(f"{name} is {value!r}: write {mend}.")
    return int(value)
