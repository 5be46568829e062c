"""The only place that moves a machine from one status to another, and settles what that brings.

Callers hold the machine's row lock.
"""

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.utils import timezone

from studio.jobs.wakes import wake_user
from studio.machines.bells import kick_placing, ring_node
from studio.machines.charging import close_lease, settle_lease
from studio.machines.models import GOES, Machine, Reason, Status
from studio.machines.progress import note_move

log = structlog.get_logger(__name__)

_LEAVES_ROOM = {Status.QUEUED, Status.STOPPED, Status.DELETED}
_TO_NODE = {Status.STARTING, Status.STOPPING, Status.DELETING}
_COSTS = {Status.RUNNING, Status.STOPPING}
_ENDS = {Status.STOPPED, Status.DELETING, Status.DELETED}
_MOVES: dict[Status, set[Status]] = {
    Status.QUEUED: {Status.STARTING, *_ENDS},
    Status.STARTING: {Status.RUNNING, Status.STOPPING, *_ENDS},
    Status.RUNNING: {Status.STOPPING, *_ENDS},
    Status.STOPPING: {Status.STARTING, *_ENDS},  # started again where it restarts
    Status.STOPPED: {Status.QUEUED, Status.DELETING, Status.DELETED},
    Status.DELETING: {Status.DELETED},
    Status.DELETED: set(),
}


@dataclass(frozen=True)
class Move:
    """Where to, and why."""

    status: Status
    reason: Reason = Reason.NONE
    message: str = ""


_KEPT_SENTENCES = {Reason.NODE_DRAINED, Reason.IDLE}


def make_end(machine: Machine) -> Move:
    """Return the move that ends a machine's stopping, for the reason it was told to stop."""
    reason = Reason(machine.shutdown_reason)
    # Of all others the message is of something that was before, such as a node that was silent.
    return Move(Status.STOPPED, reason, machine.message if reason in _KEPT_SENTENCES else "")


def move_machine(machine: Machine, move: Move, *, now: datetime | None = None) -> bool:
    """Move the machine and save it; say whether that was legal. An illegal move changes nothing.

    What ends a machine's going settles its lease.
    """
    old = Status(machine.status)
    if move.status not in _MOVES[old]:
        return False
    now = now or timezone.now()
    note_move(machine, move.status, now)
    machine.status, machine.status_since = move.status, now
    machine.reason, machine.message = move.reason, move.message[:500]
    if old in GOES and move.status in _ENDS:
        machine.restarts = False
        machine.shutdown_reason = Reason.NONE
        close_lease(machine)
    elif old in _COSTS:
        settle_lease(machine)
    machine.save()
    log.info(
        "machine.moved",
        machine=machine.key,
        old=old.value,
        new=move.status.value,
        reason=move.reason.value,
    )
    wake_user(machine.owner_id, "machines", "points")
    if move.status in _LEAVES_ROOM:
        kick_placing()
    if move.status in _TO_NODE and machine.node is not None:
        ring_node(machine.node.name)
    return True
