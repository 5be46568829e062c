"""Who asks: read from HTTP's headers and gRPC's metadata, in the same words."""

import hmac
import math
from dataclasses import dataclass

from engine.serve.backend import RequestRefused

_MOST_LETTERS = 200
BAD_TOKEN = "Send this server's token as: Authorization: Bearer TOKEN."


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    tenant: str = ""
    deadline_s: float | None = None
    tells_time: bool = False
    """Whether the usage says where the time went."""


def is_token(given: str, token: str | None) -> bool:
    """Say whether the bearer may ask, in a time that tells nothing; without a token all may."""
    return not token or hmac.compare_digest(given.encode(), token.encode())


def read_caller(token: str | None, tenant: str | None, deadline: str | None) -> Caller:
    """Return who asks by what the headers say; gRPC's metadata says it in the same words.

    Raises:
        RequestRefused: there is no token to trust them by, or they make no sense.
    """
    if tenant is None and deadline is None:
        return Caller()
    if not token:
        raise RequestRefused(
            "bad_request",
            "X-Athanor-Tenant and X-Athanor-Deadline are taken only by a server with a token.",
            field="X-Athanor-Tenant" if tenant is not None else "X-Athanor-Deadline",
        )
    if tenant is not None and not 0 < len(tenant) <= _MOST_LETTERS:
        message = f"X-Athanor-Tenant: write 1 to {_MOST_LETTERS} letters."
        raise RequestRefused("bad_request", message, field="X-Athanor-Tenant")
    return Caller(tenant or "", _read_deadline(deadline), tells_time=tenant is not None)


def _read_deadline(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        message = "X-Athanor-Deadline: write seconds from now, such as 30."
        raise RequestRefused("bad_request", message, field="X-Athanor-Deadline")
    return seconds
