"""How long a waiting machine will probably wait: until enough of what holds its nodes has ended.

Machines end with their leases, so the estimate is the longest that it should take: people stop
earlier, and some extend. Of jobs nobody knows the end; where it hangs on one, nothing is promised.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median

from django.utils import timezone

from studio.compute.models import Node
from studio.compute.rooms import Room, measure_rooms
from studio.compute.selectors import can_ever_hold, is_online
from studio.machines.charging import get_ends_at
from studio.machines.models import HOLDS_NODE, Lease, Machine, Status
from studio.machines.placing import list_able_nodes, list_queue

_LOOKED_AT = 20
_MOST_EVENTS = 2000


def estimate_waits() -> dict[object, int | None]:
    """Return the seconds until each waiting machine should run, in the queue's order.

    None is where nobody can say.
    It plays the queue forward: each machine takes its place as soon as there is room for it and all
    before it, and gives it back when its own time is over.
    """
    able = list_able_nodes()
    nodes = [node for node in Node.objects.filter(pk__in=able) if is_online(node)]
    rooms = {
        pk: room
        for pk, room in measure_rooms(nodes).items()
        if not room.node.is_cordoned  # it takes nothing new
    }
    now = timezone.now()
    ends = _list_ends(rooms)
    start_s = _get_usual_start_s()
    at = now
    waits: dict[object, int | None] = {}
    is_unknown = False
    for machine in list_queue():
        tied = machine.tied_node_id
        if is_unknown or not any(
            tied in {None, pk} and can_ever_hold(room.node, machine.flavor)
            for pk, room in rooms.items()
        ):
            waits[machine.pk] = None  # it stays behind one of which nothing is known
            continue
        found = _find_room(machine, rooms, ends, at)
        if found is None:
            is_unknown, waits[machine.pk] = True, None
            continue
        room, at = found
        _take(machine, room, ends, at)
        waits[machine.pk] = round((at - now).total_seconds() + start_s)
    return waits


class _End:
    """When a machine gives back what it holds."""

    def __init__(self, at: datetime, machine: Machine, room: Room, indexes: list[int]) -> None:
        self.at, self.machine, self.room, self.indexes = at, machine, room, indexes


def _list_ends(rooms: dict[int, Room]) -> list[_End]:
    """Return what will be given back, soonest first."""
    ends = []
    holding = Machine.objects.filter(status__in=HOLDS_NODE, node_id__in=list(rooms))
    for machine in holding.select_related("flavor", "lease"):
        assert machine.node_id is not None
        at = _get_end(machine, timezone.now())
        ends.append(_End(at, machine, rooms[machine.node_id], list(machine.device_indexes)))
    return sorted(ends, key=lambda end: end.at)[:_MOST_EVENTS]


def _get_end(machine: Machine, begins_at: datetime) -> datetime:
    if machine.status == Status.STOPPING or machine.lease is None:
        return begins_at
    told = get_ends_at(machine.lease)
    return told or begins_at + timedelta(seconds=machine.lease.granted_s)


def _find_room(
    machine: Machine, rooms: dict[int, Room], ends: list[_End], at: datetime
) -> tuple[Room, datetime] | None:
    """Let what ends go, one after the other, until the machine fits; where and when that is."""
    while True:
        tied = machine.tied_node_id
        fitting = [
            room for pk, room in rooms.items() if tied in {None, pk} and room.fits(machine.flavor)
        ]
        if fitting:
            return min(fitting, key=lambda room: (room.cores, room.node.pk)), at
        if not ends:
            return None
        end = ends.pop(0)
        _give_back(end)
        at = max(at, end.at)


def _take(machine: Machine, room: Room, ends: list[_End], at: datetime) -> None:
    indexes = room.choose_devices(machine.flavor)
    room.take(machine.flavor, indexes)
    ends.append(_End(_get_end(machine, at), machine, room, indexes))
    ends.sort(key=lambda end: end.at)


def _give_back(end: _End) -> None:
    flavor = end.machine.flavor
    end.room.memory_bytes += flavor.memory_bytes
    if flavor.is_exclusive:
        end.room.cores += flavor.cores
        for index in end.indexes:
            end.room.devices[index] += flavor.device_percent


def _get_usual_start_s() -> float:
    """Return what starts took lately, from a node's word to a running container; 0 if unknown."""
    leases = Lease.objects.filter(started_at__isnull=False).order_by("-started_at")
    starts = leases.values_list("machine__progress", flat=True)[:_LOOKED_AT]
    return median(_list_durations(starts) or [0.0])


def _list_durations(starts: Iterable[dict[str, str]]) -> list[float]:
    found = []
    for start in starts:
        placed, started = start.get("placed_at"), start.get("started_at")
        if placed and started:
            gone = datetime.fromisoformat(started) - datetime.fromisoformat(placed)
            found.append(max(0.0, gone.total_seconds()))
    return found
