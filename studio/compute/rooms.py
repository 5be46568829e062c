"""What is left of each node, whatever kind of thing takes from it: runs and dev machines alike.

Cores and devices are given to one occupant alone, a share of a device to as many as it holds;
memory is counted for all. Who takes from nodes registers how to list what it holds, and what it
will place next: each kind has a queue of its own, and none may starve the first of another's.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from studio.compute.models import Flavor, Node

WHOLE = 100
"""Percent of a device."""


@dataclass(frozen=True)
class Occupant:
    """What one run or machine holds of a node."""

    node_id: int
    flavor: Flavor
    device_indexes: Collection[int] = ()


@dataclass
class Room:
    """What is left of a node."""

    node: Node
    cores: int
    memory_bytes: int
    devices: dict[int, int] = field(default_factory=dict)
    """Index of each device to the percent of it that is free."""

    @classmethod
    def of(cls, node: Node) -> "Room":
        """Return the room of an empty node."""
        indexes = {int(device["index"]): WHOLE for device in node.devices}
        return cls(node, node.cores, node.memory_bytes, indexes)

    def take(self, flavor: Flavor, device_indexes: Collection[int]) -> None:
        """Count an occupant in."""
        self.memory_bytes -= flavor.memory_bytes
        if flavor.is_exclusive:
            self.cores -= flavor.cores
            for index in device_indexes:
                self.devices[index] = self.devices.get(index, WHOLE) - flavor.device_percent

    def fits(self, flavor: Flavor) -> bool:
        """Say whether there is room now."""
        if self.memory_bytes < flavor.memory_bytes:
            return False
        if not flavor.is_exclusive:
            return True
        return self.cores >= flavor.cores and len(self._list_fitting(flavor)) >= flavor.num_devices

    def choose_devices(self, flavor: Flavor) -> list[int]:
        """Return the devices to give: of those with room the fullest, so that whole ones stay."""
        return sorted(self._list_fitting(flavor)[: flavor.num_devices])

    def _list_fitting(self, flavor: Flavor) -> list[int]:
        fitting = [i for i, free in self.devices.items() if free >= flavor.device_percent]
        return sorted(fitting, key=lambda index: (self.devices[index], index))


_SOURCES: list[Callable[[Collection[int]], Iterable[Occupant]]] = []


def register(source: Callable[[Collection[int]], Iterable[Occupant]]) -> None:
    """Count what `source` lists, given node ids, into every room; once at start, by each app."""
    if source not in _SOURCES:
        _SOURCES.append(source)


def measure_rooms(nodes: Iterable[Node]) -> dict[int, Room]:
    """Return the room that is left of each node, by its id. The caller holds the nodes' locks."""
    rooms = {node.pk: Room.of(node) for node in nodes}
    for source in _SOURCES:
        for occupant in source(list(rooms)):
            rooms[occupant.node_id].take(occupant.flavor, occupant.device_indexes)
    return rooms


@dataclass(frozen=True)
class Waiting:
    """What is first in a kind's queue."""

    since: datetime
    node_ids: Collection[int]
    """The nodes that could hold it if they were empty."""


_QUEUES: dict[str, Callable[[Sequence[Node]], Waiting | None]] = {}


def register_queue(kind: str, first: Callable[[Sequence[Node]], Waiting | None]) -> None:
    """Ask `first`, given the nodes that are there, for what this kind places next."""
    _QUEUES[kind] = first


def list_reserved(kind: str, rooms: dict[int, Room]) -> list[Waiting]:
    """Return what is first in the queues of the other kinds.

    The nodes it waits for are kept from whatever has waited for less long, also where it has room
    now: its own scheduler comes within seconds, and would find the room taken. Only the first of
    each queue counts, so that no two wait for each other.
    """
    nodes = [room.node for room in rooms.values()]
    found = [first(nodes) for other, first in _QUEUES.items() if other != kind]
    return [each for each in found if each is not None]


def is_reserved(reserved: Iterable[Waiting], node_id: int, since: datetime) -> bool:
    """Say whether the node is kept for something that has waited longer."""
    return any(each.since < since and node_id in each.node_ids for each in reserved)
