"""What the API says of a machine."""

from typing import Any

from django.conf import settings

from studio.compute.models import Node
from studio.machines.charging import get_cost_mpoints, get_ends_at
from studio.machines.idling import show_idle
from studio.machines.models import Lease, Machine, PublishedPort, Status
from studio.machines.selectors import get_queue_positions
from studio.machines.web.numbers import get_number
from studio.machines.web.origins import public_url
from studio.points.selectors import get_run_hold


def show_machines(machines: list[Machine]) -> list[dict[str, Any]]:
    """Return machines as the API shows them."""
    is_any_waiting = any(machine.status == Status.QUEUED for machine in machines)
    places = get_queue_positions() if is_any_waiting else {}
    return [_show(machine, places.get(machine.pk)) for machine in machines]


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
    tools = machine.image.tools or {}
    return {
        "key": machine.key,
        "name": machine.name,
        "owner": machine.owner.username,
        "status": machine.status,
        "reason": machine.reason,
        "message": machine.message,
        "status_since": machine.status_since,
        "created_at": machine.created_at,
        "image": machine.image,
        "flavor": machine.flavor,
        "node": machine.node.name if machine.node else None,
        "drain": _show_drain(machine.node) if machine.node else None,
        "tools": [
            {"name": name, "port": port, "url": public_url(machine.key, port)}
            for name, port in tools.items()
        ],
        "ssh_command": f"ssh {machine.name}@{settings.SSH_HOST} -p {settings.SSH_PORT}",
        "lease": _show_lease(machine.lease) if machine.lease else None,
        "idle": show_idle(machine),
        "queue_position": queue_position,
    }


def _show_drain(node: Node) -> dict[str, Any] | None:
    return {"at": node.drain_at, "reason": node.drain_reason} if node.drain_at else None


def _show_lease(lease: Lease) -> dict[str, Any]:
    is_open = lease.ended_at is None
    return {
        "started_at": lease.started_at,
        "ends_at": get_ends_at(lease),
        "granted_s": lease.granted_s,
        "used_s": round(lease.used_s, 1),
        "rate_mpoints_per_hour": lease.rate_mpoints_per_hour,
        "cost_mpoints": get_cost_mpoints(lease),
        "held_mpoints": get_run_hold(lease.pk) if is_open else 0,
        "is_open": is_open,
    }
