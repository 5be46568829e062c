"""What machines hold of nodes, and what becomes of them when a node is emptied or removed."""

from collections.abc import Collection, Iterator
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from studio.compute.holdings import Holding
from studio.compute.models import Node
from studio.core import audit
from studio.core.sentences import say
from studio.jobs.wakes import wake_user
from studio.machines.models import GOES, HOLDS_NODE, Machine, NodeEngine, Reason, Status
from studio.machines.moves import Move, move_machine
from studio.machines.saving import lose_images

_STARTED = [Status.STARTING, Status.RUNNING]


class MachineHolder:
    """The machines of nodes; see `studio.compute.holdings.Holder`."""

    def list_holdings(self, node_ids: Collection[int]) -> Iterator[Holding]:
        """Return the machines on these nodes, stopped ones too: their containers lie there."""
        held = Machine.objects.filter(node_id__in=node_ids).exclude(status=Status.DELETED)
        for machine in held.select_related("owner", "flavor"):
            assert machine.node_id is not None
            yield Holding(
                node_id=machine.node_id,
                kind="machine",
                id=machine.key,
                name=machine.name,
                owner=machine.owner.username,
                status=machine.status,
                is_going=machine.status != Status.STOPPED,
                flavor=machine.flavor,
                device_indexes=machine.device_indexes if machine.status in HOLDS_NODE else (),
            )

    def warn(self, node: Node) -> None:
        """Have the owners' pages read anew: each machine says when its node is emptied."""
        owners = Machine.objects.filter(node=node, status__in=GOES).values_list("owner", flat=True)
        for owner_id in set(owners):
            wake_user(owner_id, "machines")

    def drain(self, node: Node) -> None:
        """Stop every machine that goes, each in its own transaction."""
        for machine_id in Machine.objects.filter(node=node, status__in=GOES).values_list(
            "pk", flat=True
        ):
            _drain(machine_id, node)

    @transaction.atomic
    def let_go(self, node: Node) -> None:
        """End what goes, and have every machine begin anew on another node at its next start."""
        lose_images(node)
        for machine in _locked().filter(node=node).exclude(status=Status.DELETED).order_by("pk"):
            _let_go(machine, node)
        NodeEngine.objects.filter(node=node).delete()


def say_drained(node: Node) -> str:
    """Return why a machine was stopped, for its owner."""
    if node.drain_reason:
        return say("machine_drained_why", node=node, why=node.drain_reason)
    return say("machine_drained", node=node)


def _locked() -> QuerySet[Machine]:
    return Machine.objects.select_for_update(of=("self",)).select_related("owner", "lease", "image")


@transaction.atomic
def _drain(machine_id: UUID, node: Node) -> None:
    machine = _locked().get(pk=machine_id)
    told = Move(Status.STOPPED, Reason.NODE_DRAINED, say_drained(node))
    if machine.status == Status.QUEUED:
        move_machine(machine, told)
    elif machine.status in _STARTED:
        machine.shutdown_reason, machine.restarts = Reason.NODE_DRAINED, False
        move_machine(machine, Move(Status.STOPPING, told.reason, told.message))
    elif machine.status == Status.STOPPING and machine.restarts:
        machine.shutdown_reason, machine.restarts = Reason.NODE_DRAINED, False
        machine.message = told.message
        machine.save(update_fields=["shutdown_reason", "restarts", "message"])
    else:
        return
    audit.record("machine.drained", actor=None, subject=machine.key, node=node.name)


def _let_go(machine: Machine, node: Node) -> None:
    is_image_lost = machine.image.node_id == node.pk
    message = say("machine_image_removed" if is_image_lost else "machine_node_removed", node=node)
    if machine.status == Status.DELETING:
        move_machine(machine, Move(Status.DELETED))
    elif machine.status == Status.QUEUED:
        machine.message = ""  # it waits on, for any node
    elif machine.status in GOES:
        move_machine(machine, Move(Status.STOPPED, Reason.NODE_REMOVED, message))
    else:
        machine.reason, machine.message = Reason.NODE_REMOVED, message
    machine.node, machine.device_indexes = None, []
    machine.life += 1
    machine.save()
    wake_user(machine.owner_id, "machines")
