"""`athanor node join` and `athanor node run`: this very machine becomes a node, and works as one.

Joining looks at everything before the one-time token is used up: what goes wrong costs nothing.
"""

import importlib.util
import os
import re
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer

from clients.account import check_url
from clients.api import Json
from clients.terminal import Refused, say

_TIMEOUT_S = 15.0
_JOIN = "/api/internal/nodes/join/"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_TRIAL_TOKEN = "node_trial"  # in the place of what joining gives

Config = Annotated[
    Path | None, typer.Option(help="The node's settings; else /etc/athanor/node.env or ~/.config.")
]


def join_node(
    url: Annotated[str, typer.Argument(help="The studio's address.")],
    token: Annotated[str, typer.Option(help="A one-time token: an administrator makes it.")],
    name: Annotated[str, typer.Option(help="Its name; else the token's, or this host's.")] = "",
    folder: Annotated[
        Path | None, typer.Option("--dir", help="A folder on a local disk for runs and caches.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where the studio reaches this machine; else how it sees itself.")
    ] = "",
    broker: Annotated[str, typer.Option(help="The studio's Redis, seen from here.")] = "",
    drives: Annotated[
        Path | None, typer.Option(help="The studio's folder of drives, for dev machines.")
    ] = None,
    config: Config = None,
    start: Annotated[bool, typer.Option("--start", help="Go on as the node.")] = False,
) -> None:
    """Make this machine a node of a studio."""
    address = check_url(url)
    _check_installed()
    path = config or _find_config()
    if path.exists():
        raise Refused(f"{path} is there: this machine has joined. Remove it, or give --config.")
    asked: Json = {"token": token, "name": name, "default_name": _name_host()}
    welcome = _ask(address, asked | {"is_trial": True})
    settings = {
        "ATHANOR_STUDIO_URL": address,
        "ATHANOR_NODE_TOKEN": _TRIAL_TOKEN,
        "ATHANOR_BROKER_URL": broker or welcome["broker_url"],
        "ATHANOR_NODE_NAME": welcome["name"],
        "ATHANOR_NODE_DIR": str((folder or _find_folder()).expanduser().absolute()),
        "ATHANOR_NODE_HOST": host or _find_host(address),
    }
    if drives is not None:
        settings["ATHANOR_DRIVE_DIR"] = str(drives.expanduser().absolute())
    _check_settings(settings)
    _check_broker(settings["ATHANOR_BROKER_URL"])
    _make_folder(Path(settings["ATHANOR_NODE_DIR"]))
    joined = _join_and_keep(path, settings, address, asked)
    say(f"{joined} has joined {address}; its settings are in {path}.")
    say(f"It works as long as this runs: athanor node run --config {shlex.quote(str(path))}")
    if start:
        run_node(path)


def run_node(config: Config = None) -> None:
    """Work as the node that `athanor node join` made of this machine, until told to end."""
    _check_installed()
    path = config or _find_config()
    environment = dict(os.environ) | read_settings(path)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "studio.up.node"], environment)


def read_settings(path: Path) -> dict[str, str]:
    """Return the variables of a settings file, `NAME=value` a line, quoted as a shell would.

    Raises:
        Refused: it is not there, or holds something else.
    """
    try:
        words = shlex.split(path.read_text(encoding="utf-8"), comments=True)
    except FileNotFoundError as error:
        raise Refused(f"{path} is not there: run `athanor node join` first.") from error
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read: {error}.") from error
    pairs = [word.partition("=") for word in words]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise Refused(f"{path} holds {wrong[0][:40]!r}: write NAME=value on each line.")
    return {name: value for name, _, value in pairs}


def _check_installed() -> None:
    for module in ("workers", "studio", "celery"):
        if importlib.util.find_spec(module) is None:
            raise Refused(
                "Only the command is installed here: a node needs all of it, "
                "`pip install 'athanor[engine]'`."
            )


def _ask(address: str, body: Json) -> Json:
    try:
        with httpx.Client(
            timeout=_TIMEOUT_S, trust_env=urlsplit(address).hostname not in _LOOPBACK
        ) as http:
            answer = http.post(address + _JOIN, json=body)
    except httpx.InvalidURL as error:
        raise Refused(f"{address} is no address: {error}.") from error
    except httpx.TransportError as error:
        raise Refused(
            f"{address} does not answer from here ({error}): check the address, and the way to it."
        ) from error
    told = _read(answer)
    if answer.is_success and isinstance(told.get("name"), str):
        return told
    if isinstance(told.get("message"), str):
        raise Refused(told["message"])
    raise Refused(
        f"{address} answers, and not as a studio does (HTTP {answer.status_code}): check the "
        "address."
    )


def _read(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _check_settings(settings: Mapping[str, str]) -> None:
    from workers.config import read_config  # where only the command is installed there is none
    from workers.errors import WorkerError

    try:
        read_config(settings)
    except WorkerError as error:
        raise Refused(str(error)) from error


def _check_broker(url: str) -> None:
    from redis import Redis, RedisError

    plain = re.sub(r"^redis\+socket://", "unix://", url)
    try:
        with Redis.from_url(plain, socket_connect_timeout=5, socket_timeout=5) as broker:
            broker.ping()
    except (RedisError, OSError, ValueError) as error:
        raise Refused(
            f"The studio's queue, {_hide_password(url)}, does not answer from here ({error}): have "
            "Redis listen where this machine reaches it and say so in the studio's "
            "STUDIO_NODE_BROKER_URL, or give --broker. The join token still works."
        ) from error


def _join_and_keep(path: Path, settings: dict[str, str], address: str, asked: Json) -> str:
    """Use the token up, and keep what it gave; the file is there before, so that it can be."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(
            f"{path} cannot be made: {error.strerror}; choose another --config."
        ) from error
    is_kept = False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            welcome = _ask(address, asked | {"name": settings["ATHANOR_NODE_NAME"]})
            settings["ATHANOR_NODE_TOKEN"] = welcome["node_token"]
            file.writelines(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
        is_kept = True
    finally:
        if not is_kept:
            path.unlink(missing_ok=True)
    return str(welcome["name"])


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{path} cannot be made: {error.strerror}; choose another --dir.") from error


def _name_host() -> str:
    """Return this host's first name, as far as it can name a node; the studio refuses the rest."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0]).strip("-_")[:63]


def _find_host(address: str) -> str:
    """Return the address of this machine on its way to the studio."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_TIMEOUT_S) as way:
            return str(way.getsockname()[0])
    except OSError:  # a proxy stands between: only a person knows
        return "127.0.0.1"


def _find_config() -> Path:
    if os.geteuid() == 0:
        return Path("/etc/athanor/node.env")
    base = os.environ.get("XDG_CONFIG_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".config") / "athanor" / "node.env"


def _find_folder() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/athanor/node")
    base = os.environ.get("XDG_DATA_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".local" / "share") / "athanor" / "node"


def _hide_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//***@", url)
