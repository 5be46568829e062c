"""Seals a source's token while its import runs: a copy of the database alone does not open it."""

from studio.core import sealing

_PURPOSE = "athanor import token"


def seal(token: str) -> str:
    """Return a token that only this studio's key opens; of no token, nothing."""
    return sealing.seal(_PURPOSE, token) if token else ""


def unseal(sealed: str) -> str:
    """Return the token; nothing where the studio's key is another by now."""
    return sealing.unseal(_PURPOSE, sealed) if sealed else ""
