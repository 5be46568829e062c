"""Where one studio keeps its things, and the environment its parts get.

The only reader of ATHANOR_DATA and ATHANOR_PORT.
"""

import hashlib
import os
import secrets
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = sys.executable
NODE = "local"
DEFAULT_PORT = 8600
# A Unix socket's address holds 107 bytes; a deep data directory needs another place.
_LONGEST_SOCKET_PATH = 100


class BadSetting(ValueError):
    """A setting of `make up` cannot be used; the message says what to write."""


@dataclass(frozen=True)
class Places:
    """Folders, files and addresses of one studio."""

    data_dir: Path
    port: int

    @property
    def run_dir(self) -> Path:
        return self.data_dir / "run"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    @property
    def node_dir(self) -> Path:
        return self.data_dir / "node"

    @property
    def pids_file(self) -> Path:
        return self.run_dir / "pids.json"

    @property
    def lock_file(self) -> Path:
        return self.run_dir / "parent.lock"

    @property
    def signin_file(self) -> Path:
        return self.run_dir / "signin-link"

    @property
    def secret_key_file(self) -> Path:
        return self.data_dir / "secrets" / "secret-key"

    @property
    def node_token_file(self) -> Path:
        return self.data_dir / "secrets" / f"node-{NODE}"

    @property
    def cache_dir(self) -> Path:
        """What any studio of this person may use again, such as the dequantized shipped model."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "athanor"

    @property
    def redis_socket(self) -> Path:
        socket = self.run_dir / "redis.sock"
        if len(str(socket)) <= _LONGEST_SOCKET_PATH:
            return socket
        digest = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"athanor-{os.getuid()}-{digest}.sock"

    @property
    def redis_url(self) -> str:
        return os.environ.get("STUDIO_REDIS_URL") or f"unix://{self.redis_socket}"

    @property
    def brings_redis(self) -> bool:
        """Whether this studio runs its own Redis: STUDIO_REDIS_URL names another."""
        return "STUDIO_REDIS_URL" not in os.environ

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def studio_env(self) -> dict[str, str]:
        """Environment of the studio's own parts: the caller's, with what this studio decides."""
        decided = {
            "DJANGO_SETTINGS_MODULE": "studio.settings",
            "STUDIO_DATA_DIR": str(self.data_dir),
            "STUDIO_REDIS_URL": self.redis_url,
            "STUDIO_SECRET_KEY_FILE": str(self.secret_key_file),
            "STUDIO_PUBLIC_URL": os.environ.get("STUDIO_PUBLIC_URL", self.url),
        }
        if (owner := find_machines_root()) is not None:
            decided["STUDIO_DRIVE_OWNER"] = os.environ.get("STUDIO_DRIVE_OWNER", str(owner))
        return {**os.environ, **decided, **self._for_every_part()}

    def command_env(self) -> dict[str, str]:
        """Environment of a command that a person waits for: its records go to their own log."""
        return self.studio_env() | {"STUDIO_LOG_TO": str(self.log_dir / "commands.log")}

    def node_env(self) -> dict[str, str]:
        """Environment of the node's parts: of the studio they know its address and their token."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STUDIO_", "DJANGO_"))}
        decided = {
            "ATHANOR_STUDIO_URL": self.url,
            "ATHANOR_NODE_TOKEN_FILE": str(self.node_token_file),
            "ATHANOR_BROKER_URL": self.redis_url.replace("unix://", "redis+socket://", 1),
            "ATHANOR_NODE_NAME": NODE,
            "ATHANOR_NODE_DIR": str(self.node_dir),
            "ATHANOR_DRIVE_DIR": os.environ.get("STUDIO_DRIVE_DIR") or str(self.data_dir / "drive"),
        }
        return {**kept, **decided, **self._for_every_part()}

    def _for_every_part(self) -> dict[str, str]:
        """Marks a process as ours (see `leftovers`), and lets it run from any folder."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return {"ATHANOR_HOUSE": str(self.data_dir), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def find_machines_root() -> int | None:
    """Return who root in a dev machine is out here, by Docker's usual `dockremap` range.

    None where there is no such range, or where this user could not give files away to it.
    """
    if os.geteuid() != 0:
        return None
    try:
        lines = Path("/etc/subuid").read_text().splitlines()
    except OSError:
        return None
    ranges = [line.split(":") for line in lines if line.startswith("dockremap:")]
    return int(ranges[0][1]) if ranges and ranges[0][1].isdigit() else None


def find_places() -> Places:
    """Return the places that ATHANOR_DATA and ATHANOR_PORT name.

    Raises:
        BadSetting: one of them cannot be used.
    """
    raw = os.environ.get("ATHANOR_PORT") or str(DEFAULT_PORT)
    if not raw.isdigit() or not 1 <= int(raw) <= 65535:
        raise BadSetting(f"ATHANOR_PORT is {raw!r}: write a port from 1 to 65535.")
    data_dir = Path(os.environ.get("ATHANOR_DATA") or ROOT / "data").expanduser().resolve()
    return Places(data_dir=data_dir, port=int(raw))


def make_places(places: Places) -> None:
    """Create the folders and the secret key where they are missing.

    Raises:
        BadSetting: the data directory cannot be written.
    """
    try:
        places.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_folders(places)
        places.node_dir.mkdir(exist_ok=True)
        places.secret_key_file.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"ATHANOR_DATA: cannot use {places.data_dir}: {error}.") from error
    if not places.secret_key_file.exists():
        write_secret(places.secret_key_file, secrets.token_urlsafe(48))


def make_folders(places: Places) -> None:
    """Create what a parent needs to write into.

    Raises:
        OSError: it cannot be created.
    """
    for folder in (places.run_dir, places.log_dir):
        folder.mkdir(parents=True, exist_ok=True)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(draft, path)
