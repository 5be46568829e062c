"""Gives waiting machines to nodes: first come first served, owners with fewer machines first.

A machine that has a container waits for its own node. A machine that must wait keeps later ones off
the nodes that could hold it, so that a large one is never starved by small ones, or by runs.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from studio.compute.models import Node
from studio.compute.rooms import (
    Occupant,
    Room,
    Waiting,
    is_reserved,
    list_reserved,
    measure_rooms,
)
from studio.compute.selectors import can_ever_hold, is_online
from studio.core import audit
from studio.core.sentences import say
from studio.machines.models import HOLDS_NODE, Machine, NodeEngine, Status
from studio.machines.moves import Move, move_machine

ENGINE_FRESH_S = 20.0


def list_occupants(node_ids: Collection[int]) -> Iterator[Occupant]:
    """Return what machines hold of these nodes."""
    held = Machine.objects.filter(
        status__in=[*HOLDS_NODE, Status.DELETING], node_id__in=node_ids
    ).select_related("flavor")
    for machine in held:
        assert machine.node_id is not None
        yield Occupant(machine.node_id, machine.flavor, machine.device_indexes)


def list_able_nodes() -> set[int]:
    """Return the nodes whose Docker engine answered lately, cordoned ones too."""
    since = timezone.now() - timedelta(seconds=ENGINE_FRESH_S)
    able = NodeEngine.objects.filter(reported_at__gte=since).exclude(version="")
    return set(able.values_list("node_id", flat=True))


@transaction.atomic
def place_machines() -> int:
    """Give every waiting machine that has room a node; return how many were given one.

    The nodes' row locks let one scheduler place at a time.
    """
    nodes = list(Node.objects.select_for_update().order_by("pk"))
    able = list_able_nodes()
    usable = {node.pk: node for node in nodes if node.pk in able and is_online(node)}
    rooms = measure_rooms(usable.values())
    reserved = list_reserved("machine", rooms)
    blocked: set[int] = set()
    num_placed = 0
    for machine in list_queue():
        if not machine.image.reference:
            _keep_message(machine, say("copy_is_made"))
            continue
        kept = {pk for pk in rooms if is_reserved(reserved, pk, machine.status_since)}
        room = _choose(machine, rooms, blocked | kept)
        if room is not None:
            _place(machine, room)
            num_placed += 1
            continue
        mine = [machine.tied_node_id] if machine.tied_node_id else list(usable)
        blocked |= {pk for pk in mine if pk in usable and can_ever_hold(usable[pk], machine.flavor)}
        _say_why(machine, usable)
    return num_placed


def list_queue() -> list[Machine]:
    """Return the waiting machines in the order in which they will be placed."""
    waiting = Machine.objects.filter(status=Status.QUEUED).select_related(
        "flavor", "node", "owner", "lease", "image__node"
    )
    going: dict[int, int] = {}
    for owner_id in Machine.objects.filter(status__in=HOLDS_NODE).values_list(
        "owner_id", flat=True
    ):
        going[owner_id] = going.get(owner_id, 0) + 1
    ranked = []
    for machine in waiting.order_by("status_since", "pk"):
        ranked.append((going.get(machine.owner_id, 0), machine))
        going[machine.owner_id] = going.get(machine.owner_id, 0) + 1
    return [machine for _, machine in sorted(ranked, key=lambda pair: pair[0])]


def find_first(nodes: Sequence[Node]) -> Waiting | None:
    """Return the first waiting machine that some of these nodes could hold, its own where it has
    a container there."""
    able = list_able_nodes()
    usable = [node for node in nodes if node.pk in able and not node.is_cordoned]
    for machine in list_queue():
        if not machine.image.reference:
            continue
        could = [
            node.pk
            for node in usable
            if can_ever_hold(node, machine.flavor) and machine.tied_node_id in {None, node.pk}
        ]
        if could:
            return Waiting(machine.status_since, could)
    return None


def _choose(machine: Machine, rooms: dict[int, Room], blocked: set[int]) -> Room | None:
    fitting = [
        room
        for pk, room in rooms.items()
        if room.fits(machine.flavor)
        and pk not in blocked
        and not room.node.is_cordoned
        and machine.tied_node_id in {None, pk}
        and _find_devices(machine, room) is not None
    ]
    return min(fitting, key=lambda room: (room.cores, room.node.pk), default=None)


def _find_devices(machine: Machine, room: Room) -> list[int] | None:
    """Return the devices to give; a container keeps those that it was made with, and waits for
    them where somebody else has them now."""
    held, flavor = machine.device_indexes, machine.flavor
    if machine.node_id is None or len(held) != flavor.num_devices:
        return room.choose_devices(flavor)
    is_free = all(room.devices.get(index, 0) >= flavor.device_percent for index in held)
    return list(held) if is_free else None


def _place(waiting: Machine, room: Room) -> None:
    locked = Machine.objects.select_for_update(of=("self",))
    machine = locked.select_related("flavor", "owner", "lease").get(pk=waiting.pk)
    if machine.status != Status.QUEUED:
        return
    machine.device_indexes = _find_devices(machine, room) or []
    machine.node = room.node
    room.take(machine.flavor, machine.device_indexes)
    move_machine(machine, Move(Status.STARTING))
    audit.record("machine.placed", actor=None, subject=machine.key, node=room.node.name)


def _say_why(machine: Machine, usable: dict[int, Node]) -> None:
    """Keep a sentence on the waiting machine that says what it waits for."""
    tied = machine.node or machine.image.node
    if tied is not None and tied.is_cordoned:
        is_free = machine.image.node is None
        message = say("node_aside_reset" if is_free else "node_aside_change", node=tied)
    elif machine.tied_node_id is not None and machine.tied_node_id not in usable:
        message = say("node_away", node=tied)
    elif usable and all(node.is_cordoned for node in usable.values()):
        message = say("machine_all_aside")
    elif not usable:
        message = say("machine_no_engine")
    elif not any(can_ever_hold(node, machine.flavor) for node in usable.values()):
        message = say("machine_none_holds", flavor=machine.flavor.title)
    else:
        message = say("machine_all_busy")
    _keep_message(machine, message)


def _keep_message(machine: Machine, message: str) -> None:
    if machine.message != message:
        Machine.objects.filter(pk=machine.pk, status=Status.QUEUED).update(message=message)
