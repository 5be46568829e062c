"""What administrators do with nodes: set aside, take back, empty, remove. Each leaves a record."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from studio.accounts.models import User
from studio.compute.holdings import Holding, list_holders, list_holdings
from studio.compute.joining import check_administers
from studio.compute.models import Node
from studio.core import audit
from studio.core.errors import BadInput, Conflict, NotFound

USUAL_GRACE_S = 600
MOST_GRACE_S = 7 * 24 * 3600
LOST_S = 120.0
"""Silence after which a node counts as lost, and may be removed with what it held."""
MOST_REASON = 200


@transaction.atomic
def cordon_node(*, by: User | None, name: str) -> Node:
    """Place nothing new on the node; what runs there goes on.

    Raises:
        Forbidden: the caller is no administrator; so for the others below.
        NotFound: there is no such node; so for the others below.
    """
    node = _lock(by, name)
    if not node.is_cordoned:
        node.is_cordoned = True
        node.save(update_fields=["is_cordoned"])
        audit.record("node.cordoned", actor=by, subject=name)
    return node


@transaction.atomic
def uncordon_node(*, by: User | None, name: str) -> Node:
    """Use the node again, and empty it no further."""
    node = _lock(by, name)
    was_draining = node.drain_at is not None
    node.is_cordoned, node.drain_at = False, None
    node.drain_reason, node.drain_stops_runs = "", False
    node.save(update_fields=["is_cordoned", "drain_at", "drain_reason", "drain_stops_runs"])
    audit.record("node.uncordoned", actor=by, subject=name)
    if was_draining:
        _warn(node)
    return node


def drain_node(
    *,
    by: User | None,
    name: str,
    reason: str = "",
    grace_s: int = USUAL_GRACE_S,
    stops_runs: bool = False,
) -> Node:
    """Empty the node: nothing new comes, and after the grace its machines stop.

    Owners are warned at once. Runs of jobs go on to their end unless `stops_runs`; the platform's
    model servers always stop, for they start elsewhere when they are next used.

    Raises:
        BadInput: the grace or the reason is too long.
    """
    if not 0 <= grace_s <= MOST_GRACE_S:
        raise BadInput(
            f"grace_s: from 0 to {MOST_GRACE_S} seconds.", field="grace_s", code="bad_grace"
        )
    if len(reason) > MOST_REASON:
        raise BadInput(
            f"reason: write {MOST_REASON} letters at most.", field="reason", code="too_long_text"
        )
    with transaction.atomic():
        node = _lock(by, name)
        node.is_cordoned = True
        node.drain_at = timezone.now() + timedelta(seconds=grace_s)
        node.drain_reason, node.drain_stops_runs = " ".join(reason.split()), stops_runs
        node.save(update_fields=["is_cordoned", "drain_at", "drain_reason", "drain_stops_runs"])
        audit.record("node.drained", actor=by, subject=name, grace_s=grace_s, stops_runs=stops_runs)
        _warn(node)
    if grace_s == 0:
        _drain(node)
    return node


@transaction.atomic
def remove_node(*, by: User | None, name: str, is_forced: bool = False) -> None:
    """Have the node no more; its token is refused from now on, and it ends what it still holds.

    A node that holds something goes only where it is lost or `is_forced`: its runs then count as
    lost and are refunded, its machines begin anew elsewhere, their homes kept.

    Raises:
        Conflict: it holds something; the sentence says what would be lost.
    """
    node = _lock(by, name)
    held = list_holdings([node.pk])[node.pk]
    if held and not is_forced and not is_lost(node):
        raise _not_empty(node, held)
    for holder in list_holders():
        holder.let_go(node)
    node.removed_at = timezone.now()
    node.last_seen_at, node.devices, node.run_ids, node.share = None, [], [], []
    node.is_cordoned, node.drain_at, node.drain_reason = True, None, ""
    node.save()
    audit.record("node.removed", actor=by, subject=name, is_forced=is_forced, held=len(held))


def tend_drains() -> None:
    """Stop what is left on the nodes whose grace is over."""
    due = Node.objects.filter(drain_at__lte=timezone.now(), removed_at__isnull=True)
    for node in due:
        _drain(node)


def is_lost(node: Node) -> bool:
    """Say whether the node has been silent for so long that nobody waits for it."""
    seen = node.last_seen_at
    return seen is None or timezone.now() - seen > timedelta(seconds=LOST_S)


def count_holdings(held: list[Holding]) -> dict[str, int]:
    """Return how many there are of each sort that people tell apart."""
    return {
        "runs": sum(each.kind != "machine" for each in held),
        "machines": sum(each.kind == "machine" and each.is_going for each in held),
        "stopped_machines": sum(each.kind == "machine" and not each.is_going for each in held),
    }


def _lock(by: User | None, name: str) -> Node:
    check_administers(by)
    node = Node.objects.select_for_update().filter(name=name, removed_at__isnull=True).first()
    if node is None:
        raise NotFound(f"There is no node {name}.")
    return node


def _warn(node: Node) -> None:
    for holder in list_holders():
        holder.warn(node)


def _drain(node: Node) -> None:
    for holder in list_holders():
        holder.drain(node)


def _not_empty(node: Node, held: list[Holding]) -> Conflict:
    counts = count_holdings(held)
    return Conflict(
        f"{node.name} holds {counts['runs']} runs, {counts['machines']} machines that go and "
        f"{counts['stopped_machines']} stopped ones: drain it first, or force it. Forced, the runs "
        "are lost and refunded, and the machines begin anew from their images; homes are kept.",
        code="node_not_empty",
        node=node.name,
        runs=counts["runs"],
        machines=counts["machines"],
        stopped_machines=counts["stopped_machines"],
    )
