"""Who may open a machine's port in a browser, asked for every request and again while it lasts."""

import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.utils.crypto import constant_time_compare

from studio.accounts.models import User
from studio.core.errors import Unavailable
from studio.core.threads import in_a_thread
from studio.machines.doors import Door, find_door
from studio.machines.models import Status
from studio.machines.selectors import get_by_key, may_open
from studio.machines.web.bases import holds
from studio.machines.web.cookies import cookie_name
from studio.machines.web.headers import get_cookie, get_header
from studio.machines.web.numbers import forget_holders, note_used
from studio.machines.web.origins import Origin, public_origin
from studio.machines.web.passes import read_cookie

LOOKS_AGAIN_S = 1.5
_MOST_KEPT = 10_000
_OWN = {"same-origin", "none"}


class Verdict(Enum):
    """What to answer."""

    OPEN = "open"
    UNKNOWN = "unknown"
    """There is no such machine, or not for this person: told alike."""
    SIGN_IN = "sign_in"
    FOREIGN = "foreign"
    """Another site's page asks with this browser's cookie."""
    STARTING = "starting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Look:
    """A verdict, and the way in where it is open."""

    verdict: Verdict
    door: Door | None = None
    is_public: bool = False
    life: int = 0
    start: int = 0


_kept: dict[tuple[Origin, str], tuple[float, Look]] = {}


async def look(origin: Origin, scope: dict[str, Any]) -> Look:
    """Return what a request or a socket may have; at most a second and a half old."""
    headers = scope["headers"]
    cookie = get_cookie(headers, cookie_name(origin.key))
    is_foreign = is_from_elsewhere(origin, scope)
    if is_foreign:
        cookie = ""
    known = _kept.get((origin, cookie))
    if known and known[0] > time.monotonic():
        found = known[1]
    else:
        try:
            found = await in_a_thread(_look)(origin, cookie)
        except (DatabaseError, InterfaceError):
            if known is None:
                raise
            found = known[1]  # away for a moment: who is here stays
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[origin, cookie] = (time.monotonic() + LOOKS_AGAIN_S, found)
    if is_foreign and found.verdict is Verdict.SIGN_IN:
        return Look(Verdict.FOREIGN)
    return found


def forget_looks() -> None:
    """Ask anew at the next request."""
    _kept.clear()
    forget_holders()


def is_from_elsewhere(origin: Origin, scope: dict[str, Any]) -> bool:
    """Say whether another site's page sent this: its cookie does not count then.

    Machines' origins are one site to a browser, so SameSite alone keeps no tenant from another:
    Fetch Metadata does (W3C), and the Origin header where a browser sends none, as over plain HTTP
    to a host that is not its own; what that leaves open, `guard_answer` closes.
    """
    headers = scope["headers"]
    said_origin = get_header(headers, b"origin").lower()
    own = public_origin(origin).lower()
    if scope["type"] == "websocket":
        return bool(said_origin) and said_origin != own
    site = get_header(headers, b"sec-fetch-site").lower()
    if not site:
        return bool(said_origin) and said_origin != own
    if site in _OWN:
        return False
    is_reading = scope["method"] in {"GET", "HEAD"}
    is_visit = get_header(headers, b"sec-fetch-mode").lower() == "navigate"
    is_page = get_header(headers, b"sec-fetch-dest").lower() == "document"
    return not (is_reading and is_visit and is_page)


def _look(origin: Origin, cookie: str) -> Look:
    machine = get_by_key(origin.key)
    viewer = _find_viewer(origin, cookie)
    if machine is None or not may_open(viewer, machine, origin.port):
        return Look(Verdict.UNKNOWN if viewer else Verdict.SIGN_IN)
    if machine.status in {Status.QUEUED, Status.STARTING}:
        return Look(Verdict.STARTING)
    try:
        door = find_door(machine)
    except Unavailable:
        return Look(Verdict.STOPPED)
    if origin.number is not None:
        note_used(origin.number)
    is_public = may_open(None, machine, origin.port)
    return Look(Verdict.OPEN, door, is_public, machine.life, machine.start)


def _find_viewer(origin: Origin, cookie: str) -> User | None:
    visitor = read_cookie(cookie, origin) if cookie else None
    if visitor is None:
        return None
    user = User.objects.filter(pk=visitor.user_id, is_active=True).first()
    if user is None or (visitor.basis and not holds(visitor.basis, user)):
        return None
    # A changed password ends the cookies that were made before.
    is_known = constant_time_compare(user.get_session_auth_hash(), visitor.session_hash)
    return user if is_known else None
