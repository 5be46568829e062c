"""The gateway's two keys: by the one people know it, by the other machines do. Made once."""

import os
from functools import lru_cache
from pathlib import Path

import asyncssh
from django.conf import settings


def read_host_key() -> asyncssh.SSHKey:
    """Return the key that clients see; it stays the same for the life of the studio's data."""
    return _read_or_make(_folder() / "ssh-host-key", "athanor")


def read_gateway_key() -> asyncssh.SSHKey:
    """Return the key with which the gateway signs in to machines."""
    return _read_or_make(_folder() / "ssh-gateway-key", "athanor-gateway")


def host_fingerprint() -> str:
    """Return the host key's fingerprint, as `ssh` asks people to compare it: `SHA256:...`."""
    return str(read_host_key().get_fingerprint())


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "secrets"


@lru_cache(maxsize=8)
def _read_or_make(path: Path, comment: str) -> asyncssh.SSHKey:
    if not path.exists():
        _make(path, comment)
    return asyncssh.read_private_key(path)


def _make(path: Path, comment: str) -> None:
    """Write a new key whole; of two processes that do so at once, the first one's stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(asyncssh.generate_private_key("ssh-ed25519", comment).export_private_key())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
