"""How secrets of our own making are kept: 256 random bits need no slow hash, only a one-way one."""

import hashlib
import secrets


def make_secret() -> str:
    """Return a fresh secret, safe in an address."""
    return secrets.token_urlsafe(32)


def hash_secret(raw: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(raw.encode()).hexdigest()
