"""What lies on each node, whichever app it is of: listed for people, stopped, or let go of.

`rooms` counts what takes room; here is also what only has files there. Who puts things on nodes
registers a holder.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from studio.compute.models import Flavor, Node


@dataclass(frozen=True)
class Holding:
    """One run or machine on a node."""

    node_id: int
    kind: str
    """`run`, `server` (the platform's own run) or `machine`."""
    id: str
    """What its page is at: a job's id, a machine's key."""
    name: str
    owner: str
    status: str
    is_going: bool
    """It takes room; otherwise it only has files there."""
    flavor: Flavor
    device_indexes: Collection[int] = ()


class Holder(Protocol):
    """An app that has things on nodes."""

    def list_holdings(self, node_ids: Collection[int]) -> Iterable[Holding]:
        """Return what is on these nodes."""

    def warn(self, node: Node) -> None:
        """Tell the owners' open pages that the node is being emptied, or no longer is."""

    def drain(self, node: Node) -> None:
        """Stop what is to stop on a node that is being emptied; called again until it has."""

    def let_go(self, node: Node) -> None:
        """Have nothing on the node any more: it is removed. Runs in a transaction."""


_HOLDERS: list[Holder] = []


def register_holder(holder: Holder) -> None:
    """Make a holder known; once at start, by each app."""
    if holder not in _HOLDERS:
        _HOLDERS.append(holder)


def list_holders() -> list[Holder]:
    """Return every holder."""
    return list(_HOLDERS)


def list_holdings(node_ids: Collection[int]) -> dict[int, list[Holding]]:
    """Return what is on each of these nodes, what goes first, then by owner and name."""
    found: dict[int, list[Holding]] = {node_id: [] for node_id in node_ids}
    for holder in _HOLDERS:
        for holding in holder.list_holdings(node_ids):
            found[holding.node_id].append(holding)
    for each in found.values():
        each.sort(key=lambda held: (not held.is_going, held.kind, held.owner, held.name))
    return found
