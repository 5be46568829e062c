"""What is known of machines for moments only, kept in Redis: how they are now, and who is there.

Redis may be away or empty at any time. Nothing waits for it, and what it cannot say is not known.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from django.core.cache import cache
from redis.exceptions import RedisError

from studio.core.threads import in_a_thread
from workers.machines.measures import MachineUsage

log = structlog.get_logger(__name__)

LIVE_S = 30
"""For how long a moment stands for now."""
LOOKS_S = 120
"""Two looks at all machines that lie further apart have missed what was between."""
_NOTED_EVERY_S = 15.0
_PRESENT_S = 24 * 3600
_MOST_NOTED = 20_000
_FAULTS = (RedisError, OSError)
_WAYS = ("browser", "ssh")
_LOOKED = "machines-looked-at"
_TENDED = "machines-tended"
_TENDED_EVERY_S = 30.0
"""Deadlines that were looked at further apart were not looked after in between."""

_noted: dict[tuple[str, str], float] = {}


@dataclass(frozen=True)
class Live:
    """A machine at the last moment that its node told of."""

    heard_at: float
    """By the studio's clock, Unix seconds."""
    usage: MachineUsage


def keep_live(usages: dict[str, MachineUsage]) -> None:
    """Note how machines, by key, are at this moment."""
    now = time.time()
    kept = {
        _live_key(key): {"heard_at": now, "usage": usage.model_dump(mode="json")}
        for key, usage in usages.items()
    }
    try:
        cache.set_many(kept, LIVE_S)
    except _FAULTS as error:
        log.warning("moments.lost", error=str(error))


def read_live(keys: Iterable[str]) -> dict[str, Live]:
    """Return how machines are, those of which it is known."""
    wanted = {_live_key(key): key for key in keys}
    return {
        wanted[name]: Live(told["heard_at"], MachineUsage.model_validate(told["usage"]))
        for name, told in _read(wanted).items()
    }


async def note_presence(key: str, way: str) -> None:
    """Note that somebody is connected to a machine now, by `browser` or `ssh`. Cheap to repeat."""
    now = time.monotonic()
    if now - _noted.get((key, way), float("-inf")) < _NOTED_EVERY_S:
        return
    if len(_noted) >= _MOST_NOTED:
        _noted.clear()
    _noted[key, way] = now
    await in_a_thread(_keep)(_presence_key(key, way), time.time(), _PRESENT_S)


def forget_notes() -> None:
    """Have the next presence of each be noted at once."""
    _noted.clear()


def read_presence(keys: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return when somebody was last connected to machines, by way; Unix seconds."""
    wanted = {_presence_key(key, way): (key, way) for key in keys for way in _WAYS}
    found: dict[str, dict[str, float]] = {}
    for name, at in _read(wanted).items():
        key, way = wanted[name]
        found.setdefault(key, {})[way] = at
    return found


def take_look() -> bool:
    """Note that all machines are looked at now; say whether the look before was a moment ago.

    Where it was not, who came and went in between is not known.
    """
    try:
        was_ago = cache.get(_LOOKED) is not None
        cache.set(_LOOKED, 1, LOOKS_S)
    except _FAULTS:
        return False
    return was_ago


def note_tending(now: float) -> float:
    """Note that the deadlines of machines are looked at now, and return since when they are without
    a gap: the studio has heard nothing while it was away itself. Both in Unix seconds.
    """
    try:
        since, last = cache.get(_TENDED) or (now, now)
        if not 0 <= now - last <= _TENDED_EVERY_S:
            since = now
        cache.set(_TENDED, (since, now), None)
    except _FAULTS:
        return now
    return float(since)


def _read(names: Iterable[str]) -> dict[str, Any]:
    try:
        return dict(cache.get_many(list(names)))
    except _FAULTS as error:
        log.warning("moments.unread", error=str(error))
        return {}


def _keep(name: str, value: object, lasts_s: int) -> None:
    try:
        cache.set(name, value, lasts_s)
    except _FAULTS as error:
        log.warning("moments.lost", error=str(error))


def _live_key(key: str) -> str:
    return f"machine-live:{key}"


def _presence_key(key: str, way: str) -> str:
    return f"machine-seen:{key}:{way}"
