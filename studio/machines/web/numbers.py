"""Which port of the studio's host stands for which port of a machine, where names are missing.

A browser keeps what it had from an origin: pages, workers, storage. So a number stays with its
port for as long as it may, goes to the same person's next, and to another's only when no other is
left and it has rested.
"""

import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from studio.core.errors import Unavailable
from studio.core.threads import in_a_thread
from studio.machines.models import Audience, Machine, PublishedPort, Status, StudioPort
from studio.machines.web.headers import get_header
from studio.machines.web.origins import Origin, parse_host

RESTS_S = 600
"""For how long a number must be silent before somebody else may have it."""
_NOTED_EVERY_S = 60
_KEPT_S = 1.5
_GONE = [Status.DELETING, Status.DELETED]
_TRIES = 10
_SHARES = 4
"""A person has at most this part of the range: then their own numbers change."""

_holders: dict[int, tuple[float, Origin]] = {}


async def find_origin(scope: dict[str, Any]) -> Origin | None:
    """Return the machine's port that is asked, None where the studio itself is.

    By names the Host header says it; by numbers the port at which the connection came in, which
    nobody can make up.
    """
    if not settings.MACHINES_PORTS:
        return parse_host(get_header(scope["headers"], b"host"))
    number: int = (scope.get("server") or ("", 0))[1] or 0
    if number not in settings.MACHINES_PORTS:
        return None
    known = _holders.get(number)
    if known and known[0] > time.monotonic():
        return known[1]
    found = await in_a_thread(find_holder)(number)
    if found.key:
        _holders[number] = (time.monotonic() + _KEPT_S, found)
    return found


def find_holder(number: int) -> Origin:
    """Return what a number stands for; of blank key where that is nothing."""
    holders = StudioPort.objects.filter(number=number).exclude(machine__status__in=_GONE)
    found = holders.select_related("machine").first()
    return Origin(found.machine.key, found.port, number) if found else Origin("", number, number)


def get_number(machine: Machine, port: int) -> int | None:
    """Return the number that stands for a port, None where none does."""
    held = StudioPort.objects.filter(machine=machine, port=port)
    number = held.values_list("number", flat=True).first()
    return number if number in settings.MACHINES_PORTS else None


def take_number(machine: Machine, port: int) -> int | None:
    """Return the number that stands for a port from now on; None where ports have names.

    Raises:
        Unavailable: every number is in use.
    """
    if not settings.MACHINES_PORTS:
        return None
    for _ in range(_TRIES):  # two may choose the same at once: one of them chooses again
        taken = _try_to_take(machine, port)
        if taken is not None:
            _holders.pop(taken, None)
            return taken
    raise _in_use()


def note_used(number: int) -> None:
    """Note that somebody is here; at most once a minute."""
    long_ago = timezone.now() - timedelta(seconds=_NOTED_EVERY_S)
    held = StudioPort.objects.filter(number=number, used_at__lt=long_ago)
    if held.exists():  # on SQLite an update waits for the lock, even one of nothing
        held.update(used_at=timezone.now())


def was_anothers(number: int) -> bool:
    """Say whether a number has stood for another person's port before."""
    return StudioPort.objects.filter(number=number, turn__gt=1).exists()


def forget_holders() -> None:
    """Ask anew at the next request."""
    _holders.clear()


def _try_to_take(machine: Machine, port: int) -> int | None:
    """Return the number, None where somebody else was quicker with the one that was picked."""
    now = timezone.now()
    held = StudioPort.objects.filter(machine=machine, port=port).first()
    if held is not None and held.number in settings.MACHINES_PORTS:
        note_used(held.number)
        return held.number
    if held is not None:  # the studio's range is another now
        held.delete()
    picked = _pick(machine.owner_id)
    try:
        with transaction.atomic():
            if isinstance(picked, StudioPort):
                return _take_over(picked, machine, port, now)
            StudioPort.objects.create(number=picked, machine=machine, port=port, used_at=now)
            return picked
    except IntegrityError:
        return None


def _pick(owner_id: int) -> StudioPort | int:
    """Return a number that was never used, or whose turn it is to go."""
    numbers = settings.MACHINES_PORTS
    every = StudioPort.objects.filter(number__range=(numbers[0], numbers[-1]))
    mine = every.filter(machine__owner_id=owner_id)
    if gone := mine.filter(machine__status__in=_GONE).order_by("used_at").first():
        return gone
    if mine.count() < max(1, len(numbers) // _SHARES):
        had = set(every.values_list("number", flat=True))
        fresh = next((number for number in numbers if number not in had), None)
        if fresh is not None:
            return fresh
        rested = every.filter(used_at__lt=timezone.now() - timedelta(seconds=RESTS_S))
        if found := _list_by_need(rested).first():
            return found
    if found := _list_by_need(mine).first():
        return found
    raise _in_use()


def _list_by_need(held: QuerySet[StudioPort]) -> QuerySet[StudioPort]:
    """Return them in the order in which they may go: others' open ports last."""
    shared = PublishedPort.objects.filter(machine=OuterRef("machine"), port=OuterRef("port"))
    shared = shared.exclude(audience=Audience.PRIVATE).exclude(until__lte=timezone.now())
    return held.annotate(is_shared=Exists(shared)).order_by("is_shared", "used_at")


def _take_over(held: StudioPort, machine: Machine, port: int, now: datetime) -> int | None:
    is_anothers = held.machine.owner_id != machine.owner_id
    unchanged = StudioPort.objects.filter(
        number=held.number, machine=held.machine_id, port=held.port, used_at=held.used_at
    )
    turn = held.turn + (1 if is_anothers else 0)
    changed = unchanged.update(machine=machine, port=port, used_at=now, turn=turn)
    return held.number if changed else None


def _in_use() -> Unavailable:
    return Unavailable(
        "Every port that this studio has for machines is in use: try again in ten minutes.",
        code="no_studio_port",
    )
