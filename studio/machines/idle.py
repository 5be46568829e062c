"""Whether a machine is idle, and until when it may be so. Decides only; `idling` gathers and acts.

Everything that may be use counts together, and what cannot be told counts as use: a machine is
never stopped for want of a sign.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ACTIVE_S = 90.0
"""What was used within that time is in use."""


class Sign(StrEnum):
    """What shows that a machine is used. The first of several at one moment is the one told."""

    RUN = "run"
    """A command of `athanor run`."""
    KERNEL = "kernel"
    GPU = "gpu"
    CPU = "cpu"
    TERMINAL = "terminal"
    SSH = "ssh"
    BROWSER = "browser"
    KEPT = "kept"
    """Its owner said so."""
    UNKNOWN = "unknown"
    """Something of it cannot be told now."""
    STARTED = "started"
    """Nothing since it started."""


LOOKED_FOR = (
    Sign.RUN,
    Sign.KERNEL,
    Sign.GPU,
    Sign.CPU,
    Sign.TERMINAL,
    Sign.SSH,
    Sign.BROWSER,
)
Seen = datetime | bool | None
"""True is now, False is not at all, a time is when last, None cannot be told."""


class State(StrEnum):
    """What a machine is, by the idle rule."""

    OFF = "off"
    """There is no rule for it."""
    ACTIVE = "active"
    IDLE = "idle"


@dataclass(frozen=True)
class Signals:
    """All that a verdict is made of."""

    idle_s: int
    """After how much idleness it stops; 0 is never."""
    begun_at: datetime
    """When it began to run: what was before does not count."""
    seen: Mapping[Sign, Seen]
    """Of each sign that is looked for; one that is missing cannot be told."""
    active_at: datetime | None = None
    """When it was last known to be used, and by what sign."""
    active_sign: Sign = Sign.STARTED
    kept_until: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """What a machine is, and since when."""

    state: State
    sign: Sign
    """What shows that it is used, or was last."""
    active_at: datetime
    """When it was last used; now, where it is."""
    stops_at: datetime | None = None
    """When it stops if nobody uses it; None unless it is idle."""

    def is_due(self, now: datetime) -> bool:
        """Say whether it is to be stopped."""
        return self.stops_at is not None and now >= self.stops_at


def decide(signals: Signals, now: datetime) -> Verdict:
    """Return whether a machine is used, by every sign together."""
    sign, active_at = _find_last_use(signals, now)
    if signals.idle_s == 0:
        return Verdict(State.OFF, sign, active_at)
    rest = now - active_at
    if rest <= timedelta(seconds=min(ACTIVE_S, signals.idle_s / 2)):
        return Verdict(State.ACTIVE, sign, active_at)
    return Verdict(State.IDLE, sign, active_at, active_at + timedelta(seconds=signals.idle_s))


def _find_last_use(signals: Signals, now: datetime) -> tuple[Sign, datetime]:
    found: list[tuple[Sign, datetime]] = []
    for sign in LOOKED_FOR:
        seen = signals.seen.get(sign)
        if seen is True:
            found.append((sign, now))
        elif isinstance(seen, datetime):
            found.append((sign, min(seen, now)))
    if signals.kept_until is not None and signals.kept_until > now:
        found.append((Sign.KEPT, now))
    if any(signals.seen.get(sign) is None for sign in LOOKED_FOR):
        found.append((Sign.UNKNOWN, now))
    if signals.active_at is not None:
        found.append((signals.active_sign, min(signals.active_at, now)))
    found.append((Sign.STARTED, signals.begun_at))
    sign, at = max(found, key=lambda each: each[1])  # the first of the latest
    return (sign, at) if at > signals.begun_at else (Sign.STARTED, signals.begun_at)
