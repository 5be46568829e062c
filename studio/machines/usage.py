"""What machines use: this moment, kept in Redis, and minutes, kept as rows for a day."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from studio.compute.models import Node
from studio.drive.spaces import get_use
from studio.machines.models import HOLDS_NODE, Machine, UsageMinute
from studio.machines.moments import keep_live, read_live
from workers.machines.measures import MachineUsage
from workers.machines.orders import MachineReport

KEPT_MINUTES = 24 * 60
_AHEAD_MINUTES = 5
"""How far a node's clock may go ahead."""
_FIGURES = (
    "cores",
    "memory_bytes",
    "gpu_busy_ratio",
    "gpu_memory_bytes",
    "received_bytes_per_s",
    "sent_bytes_per_s",
    "layer_bytes",
    "scratch_bytes",
)


@dataclass(frozen=True)
class History:
    """A machine's minutes as columns, oldest first: one list for each figure."""

    at: list[int]
    """Unix seconds at which each minute began."""
    figures: dict[str, list[float | None]]


def keep_usage(*, node: Node, report: MachineReport) -> None:
    """Keep what a node tells of its machines' use; what it tells of others' is passed over.

    A minute that is there stays as it is, so a report may come twice.
    """
    told = {each.machine: each for each in report.machines if each.usage or each.minutes}
    if not told:
        return
    mine = dict(
        Machine.objects.filter(node=node, status__in=HOLDS_NODE, key__in=told).values_list(
            "key", "pk"
        )
    )
    keep_live({key: usage for key in mine if (usage := told[key].usage) is not None})
    now = _now_minute()
    rows = [
        UsageMinute(machine_id=pk, **minute.model_dump())
        for key, pk in mine.items()
        for minute in told[key].minutes
        if now - KEPT_MINUTES < minute.minute <= now + _AHEAD_MINUTES
    ]
    if rows:
        UsageMinute.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)


def get_live_usage(machine: Machine) -> MachineUsage | None:
    """Return how a machine is at this moment; None where its node does not tell."""
    found = read_live([machine.key]).get(machine.key)
    return found.usage if found else None


def get_history(machine: Machine, since: datetime | None = None) -> History:
    """Return the minutes of a machine that begin after a time; all of the last day where None."""
    first = _now_minute() - KEPT_MINUTES
    if since is not None:
        first = max(first, int(since.timestamp() // 60))
    found = machine.usage_minutes.filter(minute__gt=first).order_by("minute")
    rows = list(found.values_list("minute", *_FIGURES))
    columns = list(zip(*rows, strict=True)) or [()] * (len(_FIGURES) + 1)
    figures = {name: list(column) for name, column in zip(_FIGURES, columns[1:], strict=True)}
    return History(at=[minute * 60 for minute in columns[0]], figures=figures)


def describe_usage(machine: Machine, since: datetime | None) -> dict[str, Any]:
    """Return all that a machine's panel shows."""
    usage = get_live_usage(machine)
    history = get_history(machine, since)
    flavor, home = machine.flavor, get_use(machine.owner)
    return {
        "live": _describe(usage) if usage else None,
        "cores_limit": flavor.cores,
        "memory_limit_bytes": flavor.memory_bytes,
        "device_percent": flavor.device_percent if flavor.num_devices else None,
        "home_used_bytes": home.used_bytes,
        "home_quota_bytes": home.quota_bytes,
        "minutes": {"at": history.at, **history.figures},
    }


def forget_old_minutes() -> int:
    """Delete the minutes that are older than a day; return how many."""
    gone, _ = UsageMinute.objects.filter(minute__lte=_now_minute() - KEPT_MINUTES).delete()
    return gone


def _describe(usage: MachineUsage) -> dict[str, Any]:
    body = usage.model_dump(exclude={"signs"})
    return body | {"taken_at": datetime.fromtimestamp(usage.taken_at, UTC)}


def _now_minute() -> int:
    return int(time.time() // 60)
