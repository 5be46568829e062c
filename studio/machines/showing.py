"""What the API says of a machine."""

from typing import Any
from uuid import UUID

from django.conf import settings

from studio.compute.models import Flavor, Node
from studio.core.sentences import find_told
from studio.machines.charging import get_cost_mpoints, get_ends_at, get_unwritten_mpoints
from studio.machines.disks import get_disk_limits, get_sizes
from studio.machines.idling import show_idle
from studio.machines.models import Image, Lease, Machine, PublishedPort, Saving, Status
from studio.machines.progress import show_progress
from studio.machines.saving import is_copy_name
from studio.machines.tabs import list_last_tabs
from studio.machines.waits import estimate_waits
from studio.machines.web.numbers import get_number
from studio.machines.web.origins import public_url
from studio.points.selectors import get_run_costs, get_run_holds


def show_machines(machines: list[Machine]) -> list[dict[str, Any]]:
    """Return machines as the API shows them."""
    is_any_waiting = any(machine.status == Status.QUEUED for machine in machines)
    waits = estimate_waits() if is_any_waiting else {}
    places = {pk: place for place, pk in enumerate(waits, start=1)}
    savings = _find_last_savings(machines)
    leases = [machine.lease for machine in machines if machine.lease]
    open_ids = [lease.pk for lease in leases if lease.ended_at is None]
    holds, costs = get_run_holds(open_ids), get_run_costs(open_ids)
    held = {
        lease.pk: holds.get(lease.pk, 0) - get_unwritten_mpoints(lease, costs.get(lease.pk, 0))
        for lease in leases
    }
    return [
        {
            **_show(machine, places.get(machine.pk)),
            "lease": _show_lease(machine.lease, held) if machine.lease else None,
            "wait_s": waits.get(machine.pk),
            "saving": savings.get(machine.pk),
        }
        for machine in machines
    ]


def show_machine(machine: Machine) -> dict[str, Any]:
    """Return one machine as the API shows it."""
    return show_machines([machine])[0]


def show_port(machine: Machine, port: PublishedPort) -> dict[str, Any]:
    """Return a published port as the API shows it."""
    return {
        "port": port.port,
        "audience": port.audience,
        "until": port.until,
        "url": public_url(machine.key, port.port, get_number(machine, port.port)),
    }


def _show(machine: Machine, queue_position: int | None) -> dict[str, Any]:
    tools = machine.image.ordered_tools
    return {
        "key": machine.key,
        "name": machine.name,
        "owner": machine.owner.username,
        "status": machine.status,
        "reason": machine.reason,
        "message": machine.message,
        "told": find_told(machine.message),
        "status_since": machine.status_since,
        "created_at": machine.created_at,
        "image": machine.image,
        "flavor": _show_flavor(machine.flavor),
        "node": machine.node.name if machine.node else None,
        "drain": _show_drain(machine.node) if machine.node else None,
        "tools": [
            {"name": name, "port": port, "url": public_url(machine.key, port)}
            for name, port in tools.items()
        ],
        "ssh_command": f"ssh {machine.name}@{settings.SSH_HOST} -p {settings.SSH_PORT}",
        "idle": show_idle(machine),
        "queue_position": queue_position,
        "progress": show_progress(machine),
        "last_tabs": list_last_tabs(machine),
    }


def _show_flavor(flavor: Flavor) -> dict[str, Any]:
    fields = "name title cores memory_bytes num_devices device_percent price_mpoints_per_hour"
    own = {name: getattr(flavor, name) for name in fields.split()}
    return own | get_disk_limits(get_sizes(flavor))


def show_saved(image: Image) -> dict[str, Any]:
    """Return a saved image as the API shows it."""
    return {
        "name": image.name,
        "status": "ready" if image.reference else "saving",
        "size_bytes": image.size_bytes or None,
        "node": image.node.name if image.node else None,
        "machine": image.saving.machine.name,
        "created_at": image.created_at,
    }


def _find_last_savings(machines: list[Machine]) -> dict[object, dict[str, Any]]:
    """Return what was last saved of each machine, or is being saved."""
    found = Saving.objects.filter(machine__in=machines).select_related("image")
    return {
        saving.machine_id: {
            "image": saving.image.name,
            "is_copy": is_copy_name(saving.image.name),
            "begun_at": saving.begun_at,
            "ended_at": saving.ended_at,
            "problem": saving.problem,
            "problem_told": find_told(saving.problem),
        }
        for saving in found.order_by("begun_at")
    }


def _show_drain(node: Node) -> dict[str, Any] | None:
    return {"at": node.drain_at, "reason": node.drain_reason} if node.drain_at else None


def _show_lease(lease: Lease, held: dict[UUID, int]) -> dict[str, Any]:
    is_open = lease.ended_at is None
    return {
        "started_at": lease.started_at,
        "ends_at": get_ends_at(lease),
        "granted_s": lease.granted_s,
        "used_s": round(lease.used_s, 1),
        "rate_mpoints_per_hour": lease.rate_mpoints_per_hour,
        "cost_mpoints": get_cost_mpoints(lease),
        "held_mpoints": held[lease.pk] if is_open else 0,
        "is_open": is_open,
    }
