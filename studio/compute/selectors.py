"""What may be known of nodes and flavors. It is nobody's own, so no viewer is asked for."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from studio.compute.holdings import Holding, list_holdings
from studio.compute.models import Flavor, Node
from studio.compute.rooms import WHOLE
from studio.compute.upkeep import is_lost
from studio.core.errors import BadInput
from studio.core.sentences import find_told
from workers.machines.orders import MOCK_DEVICE

ONLINE_S = 20.0  # a node speaks every 5 s: four beats missed is gone


def describe_nodes(*, only: int | None = None) -> list[dict[str, Any]]:
    """Return every node by name, or the one of an id, with what it says and what it holds."""
    held = Q(runs__status__in=["starting", "running", "stopping"])
    nodes = Node.objects.filter(removed_at__isnull=True).select_related("machine_engine")
    if only is not None:
        nodes = nodes.filter(pk=only)
    found = list(nodes.annotate(num_running=Count("runs", filter=held)).order_by("name"))
    holdings = list_holdings([node.pk for node in found])
    return [_describe_node(node, holdings[node.pk]) for node in found]


def describe_node(node_id: int) -> dict[str, Any]:
    """Return one node as `describe_nodes` does."""
    return describe_nodes(only=node_id)[0]


def _describe_node(node: Node, held: list[Holding]) -> dict[str, Any]:
    fields = "name last_seen_at cores memory_bytes disk_free_bytes disk_bytes version num_running "
    fields += "runtime runtime_problem runtime_notice cache_bytes cache_limit_bytes share "
    fields += "is_cordoned"
    drain = {
        "at": node.drain_at,
        "reason": node.drain_reason,
        "stops_runs": node.drain_stops_runs,
        "is_done": not any(each.is_going for each in held),
    }
    return {name: getattr(node, name) for name in fields.split()} | {
        "is_online": is_online(node),
        "runtime_problem_told": find_told(node.runtime_problem),
        "runtime_notice_told": find_told(node.runtime_notice),
        "is_lost": is_lost(node),
        "devices": [
            {**device, "is_mock": str(device.get("uuid", "")).startswith(MOCK_DEVICE)}
            for device in node.devices
        ],
        "drain": drain if node.drain_at else None,
        "engine": _describe_engine(getattr(node, "machine_engine", None)),
        "holdings": [_describe_holding(each) for each in held],
    }


def _describe_engine(engine: Any) -> dict[str, Any] | None:
    if engine is None:
        return None
    since = timezone.now() - timedelta(seconds=ONLINE_S)
    relay = f"{engine.relay_host}:{engine.relay_port}" if engine.relay_port else None
    return {
        "version": engine.version,
        "problem": engine.problem,
        "problem_told": find_told(engine.problem),
        "relay": relay,
        "unlimited": engine.unlimited,
        "reported_at": engine.reported_at,
        "is_fresh": engine.reported_at >= since,
    }


def _describe_holding(held: Holding) -> dict[str, Any]:
    flavor = held.flavor
    return {
        "kind": held.kind,
        "id": held.id,
        "name": held.name,
        "owner": held.owner,
        "status": held.status,
        "is_going": held.is_going,
        "flavor": flavor.title,
        "cores": flavor.cores,
        "memory_bytes": flavor.memory_bytes,
        "device_percent": flavor.device_percent,
        "device_indexes": list(held.device_indexes),
        "is_exclusive": flavor.is_exclusive,
    }


def is_online(node: Node, *, now: datetime | None = None) -> bool:
    """Say whether the node has spoken within `ONLINE_S`."""
    seen = node.last_seen_at
    return seen is not None and (now or timezone.now()) - seen <= timedelta(seconds=ONLINE_S)


def list_online_nodes() -> list[Node]:
    """Return the nodes that spoke within `ONLINE_S`, by name."""
    since = timezone.now() - timedelta(seconds=ONLINE_S)
    return list(Node.objects.filter(last_seen_at__gte=since).order_by("name"))


def list_online_node_names() -> list[str]:
    """Return the names of the nodes that spoke within `ONLINE_S`."""
    return [node.name for node in list_online_nodes()]


def list_flavors(*, with_shares: bool = False) -> list[Flavor]:
    """Return the flavors a user may pick, cheapest first.

    `with_shares` adds shares of a device, which are for dev machines: a training run has its own.
    """
    flavors = Flavor.objects.filter(is_active=True, is_listed=True)
    if not with_shares:
        flavors = flavors.filter(device_percent=WHOLE)
    return list(flavors.order_by("price_mpoints_per_hour", "name"))


def get_flavor(name: str, *, with_shares: bool = False) -> Flavor:
    """Return a flavor a user may pick.

    Raises:
        BadInput: there is none of that name; the sentence lists those there are.
    """
    for flavor in (flavors := list_flavors(with_shares=with_shares)):
        if flavor.name == name:
            return flavor
    names = ", ".join(flavor.name for flavor in flavors)
    raise BadInput(
        f"flavor: there is no flavor {name!r}; pick one of {names}.",
        field="flavor",
        code="unknown_flavor",
        name=name,
    )


def can_ever_hold(node: Node, flavor: Flavor) -> bool:
    """Say whether an empty node of this size would have room for the flavor."""
    return (
        node.cores >= flavor.cores
        and node.memory_bytes >= flavor.memory_bytes
        and len(node.devices) >= flavor.num_devices
    )


def get_why_not(flavor: Flavor, nodes: list[Node]) -> str | None:
    """Return why the flavor cannot run on these online nodes at any time, or None where it can.

    Codes: `no_node_online`, `no_device` (no node has that many GPUs), `no_node_fits`.
    """
    if not nodes:
        return "no_node_online"
    if all(len(node.devices) < flavor.num_devices for node in nodes):
        return "no_device"
    return None if any(can_ever_hold(node, flavor) for node in nodes) else "no_node_fits"


def describe_flavors(*, with_shares: bool = False) -> list[dict[str, Any]]:
    """Return the flavors with what the online nodes make of them."""
    nodes = list_online_nodes()
    return [_describe(flavor, nodes) for flavor in list_flavors(with_shares=with_shares)]


def _describe(flavor: Flavor, nodes: list[Node]) -> dict[str, Any]:
    why_not = get_why_not(flavor, nodes)
    names = [device.get("name", "") for node in nodes for device in node.devices]
    return {
        "name": flavor.name,
        "title": flavor.title,
        "cores": flavor.cores,
        "memory_bytes": flavor.memory_bytes,
        "num_devices": flavor.num_devices,
        "device_percent": flavor.device_percent,
        "device_name": names[0] if flavor.num_devices and names else None,
        "price_mpoints_per_hour": flavor.price_mpoints_per_hour,
        "is_available": why_not is None,
        "why_not": why_not,
    }
