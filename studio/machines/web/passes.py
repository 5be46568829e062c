"""How a browser signs in on a machine's origin: a pass that is spent once, then a cookie there.

By names no cookie of the studio's is ever sent to a machine's origin, and none of a machine's to
the studio: each is a host of its own, and both kinds are for their host only (RFC 6265, 5.3). By
numbers all are one host, whose cookies know no ports: one cookie for each machine, by a name of its
own, and `cookies` keeps them from machines.
"""

import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.core.cache import cache

from studio.accounts.models import User
from studio.machines.models import Machine
from studio.machines.web.cookies import cookie_name
from studio.machines.web.numbers import take_number
from studio.machines.web.origins import Origin, public_origin

PASS_LASTS_S = 30
COOKIE_LASTS_S = 12 * 3600
ENTER_PATH = "/_athanor/enter"
_SALT = "athanor.machine-cookie"


@dataclass(frozen=True)
class Visitor:
    """Who a cookie speaks for, and where."""

    user_id: int
    session_hash: str
    origin: Origin
    basis: str = ""


@dataclass(frozen=True)
class Entrant:
    """Who spent a pass, and the sign-in that it was made by: blank rests on none."""

    user: User
    basis: str


def enter_url(*, user: User, machine: Machine, port: int, path: str = "/", basis: str = "") -> str:
    """Return an address that signs the browser in on a port's origin; once, within 30 s.

    `basis` is the sign-in that what it opens ends with, see `bases`.

    Raises:
        Unavailable: every number of the studio's is in use.
    """
    origin = Origin(machine.key, port, take_number(machine, port))
    raw = secrets.token_urlsafe(32)
    cache.set(_key(raw), f"{user.pk}:{machine.key}:{port}:{basis}", PASS_LASTS_S)
    query = urlencode({"pass": raw, "path": clean_path(path)})
    return f"{public_origin(origin)}{ENTER_PATH}?{query}"


def spend_pass(raw: str, origin: Origin) -> Entrant | None:
    """Return whose pass this is, once; None where it is none for this origin any more."""
    found = cache.get(_key(raw))
    # Only one of two who come at once deletes it.
    if not isinstance(found, str) or not cache.delete(_key(raw)):
        return None
    user_id, key, port, basis = found.split(":", 3)
    if (key, int(port)) != (origin.key, origin.port):
        return None
    user = User.objects.filter(pk=int(user_id), is_active=True).first()
    return Entrant(user, basis) if user else None


def make_cookie(user: User, origin: Origin, basis: str = "") -> str:
    """Return the value of the cookie that stands for this person at this origin."""
    said = {"u": user.pk, "h": user.get_session_auth_hash(), "k": origin.key, "p": _port(origin)}
    said["b"] = basis
    return signing.dumps(said, salt=_SALT)


def set_cookie(user: User, origin: Origin, basis: str) -> bytes:
    """Return the header that signs a person's browser in at this origin."""
    cookie = f"{cookie_name(origin.key)}={make_cookie(user, origin, basis)}; Path=/; HttpOnly"
    cookie += f"; SameSite=Lax; Max-Age={COOKIE_LASTS_S}"
    return (cookie + ("; Secure" if settings.SESSION_COOKIE_SECURE else "")).encode()


def read_cookie(value: str, origin: Origin) -> Visitor | None:
    """Return whom a cookie speaks for, None where it is forged, old, or for another origin."""
    try:
        said = signing.loads(value, salt=_SALT, max_age=COOKIE_LASTS_S)
    except signing.BadSignature:
        return None
    if (said["k"], said["p"]) != (origin.key, _port(origin)):
        return None
    return Visitor(int(said["u"]), str(said["h"]), origin, str(said.get("b", "")))


def clean_path(path: str) -> str:
    """Return a path on the same origin: what could name another host is the start page."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_own and path.isprintable() else "/"


def _port(origin: Origin) -> int:
    """Return the port a cookie is for; 0 is all of the machine's, which share it by numbers."""
    return 0 if settings.MACHINES_PORTS else origin.port


def _key(raw: str) -> str:
    return f"machine-pass:{hashlib.sha256(raw.encode()).hexdigest()}"
