"""What a machine costs: the time its node has shown it running, at its lease's rate.

Each second of it is on the lease as soon as it is shown. The ledger has it at every end and
extension, and in between every ten minutes: what is used and not written yet is held, and shown.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from studio.core.sentences import say
from studio.machines.models import Lease, Machine, Status
from studio.points.selectors import Use, get_run_costs
from studio.points.services import WRITTEN_EVERY_S, charge_run, hold_points, release_run

MOST_GAP_S = 10.0
"""What two signs of life may lie apart and still be paid in between: a longer silence is the
platform's, and so is its cost."""
_HOUR_S = 3600


def price(seconds: float, rate_mpoints_per_hour: int) -> int:
    """Return what some time costs, rounded up: what is held for it."""
    return -int(-seconds * rate_mpoints_per_hour // _HOUR_S)


def get_cost_mpoints(lease: Lease) -> int:
    """Return what a lease has cost up to its last proof of life, rounded down."""
    return int(min(lease.used_s, lease.granted_s) * lease.rate_mpoints_per_hour) // _HOUR_S


def get_ends_at(lease: Lease) -> datetime | None:
    """Return when the time that is held for will be used up; None before it began."""
    if lease.seen_at is None or lease.ended_at is not None:
        return lease.ended_at
    return lease.seen_at + timedelta(seconds=max(0.0, lease.granted_s - lease.used_s))


def get_unwritten_mpoints(lease: Lease, charged_mpoints: int) -> int:
    """Return what an open lease has cost beyond what the ledger has charged for it."""
    if lease.ended_at is not None:
        return 0
    return max(0, get_cost_mpoints(lease) - charged_mpoints)


def list_machine_uses(user_ids: Collection[int]) -> dict[int, Use]:
    """Return what people's machines cost now, by user id; who has none that goes is not in it."""
    leases = list(
        Lease.objects.filter(machine__owner_id__in=user_ids, ended_at__isnull=True).select_related(
            "machine"
        )
    )
    charged = get_run_costs([lease.pk for lease in leases]) if leases else {}
    uses: dict[int, Use] = {}
    for lease in leases:
        owner_id = lease.machine.owner_id
        is_burning = lease.machine.status in {Status.RUNNING, Status.STOPPING}
        use = Use(
            lease.rate_mpoints_per_hour if is_burning else 0,
            get_unwritten_mpoints(lease, charged.get(lease.pk, 0)),
        )
        uses[owner_id] = uses.get(owner_id, Use()) + use
    return uses


def open_lease(machine: Machine, duration_s: int) -> None:
    """Hold points for some time of running. The caller saves the machine.

    Raises:
        PointsExhausted: fewer are available.
    """
    rate = machine.flavor.price_mpoints_per_hour
    lease = Lease.objects.create(
        machine=machine,
        rate_mpoints_per_hour=rate,
        granted_s=duration_s,
        made_at=timezone.now(),
    )
    _hold(machine, lease, price(duration_s, rate))
    machine.lease = lease


def extend_lease(machine: Machine, duration_s: int) -> None:
    """Charge what was used, and hold points for more time of the lease that is open.

    Raises:
        PointsExhausted: fewer are available.
    """
    assert machine.lease is not None, "the caller has made sure that it goes"
    lease = Lease.objects.select_for_update().get(pk=machine.lease.pk)
    charge_lease(machine, lease)
    lease.num_parts += 1
    more = price(lease.granted_s + duration_s, lease.rate_mpoints_per_hour)
    more -= price(lease.granted_s, lease.rate_mpoints_per_hour)
    lease.granted_s += duration_s
    lease.save(update_fields=["num_parts", "granted_s"])
    _hold(machine, lease, more)
    machine.lease = lease


def count_time(lease: Lease, now: datetime) -> None:
    """Note that the machine runs at this moment, by its node's word, and save that."""
    if lease.started_at is None or lease.seen_at is None:
        lease.started_at = lease.seen_at = now
    else:
        gone_s = (now - lease.seen_at).total_seconds()
        lease.used_s += min(max(0.0, gone_s), MOST_GAP_S)
        lease.seen_at = max(now, lease.seen_at)
    lease.save(update_fields=["started_at", "seen_at", "used_s"])


def charge_lease(machine: Machine, lease: Lease) -> int:
    """Charge what the lease has cost and is not charged yet; return what could not be paid.

    The caller holds the lease's row lock.
    """
    total, note = get_cost_mpoints(lease), _say(machine)
    if total == 0:
        return 0
    unpaid = charge_run(user=machine.owner, run_id=lease.pk, total_mpoints=total, note=note)
    if not unpaid:  # else it is tried again until the machine has stopped
        lease.charged_s = lease.used_s
        lease.save(update_fields=["charged_s"])
    return unpaid


def settle_lease(machine: Machine) -> None:
    """Charge what the open lease has cost, where there is one: the machine's status changes."""
    if machine.lease is not None and machine.lease.ended_at is None:
        lease = Lease.objects.select_for_update().get(pk=machine.lease.pk)
        charge_lease(machine, lease)
        machine.lease = lease


def close_lease(machine: Machine) -> None:
    """Settle the open lease, where there is one: charge, and give back the rest of the hold."""
    lease = machine.lease
    if lease is None or lease.ended_at is not None:
        return
    lease = Lease.objects.select_for_update().get(pk=lease.pk)
    charge_lease(machine, lease)
    lease.ended_at = timezone.now()
    lease.save(update_fields=["ended_at"])
    release_run(user=machine.owner, run_id=lease.pk, note=_say(machine))
    machine.lease = lease


def charge_leases() -> list[UUID]:
    """Charge the open leases that are due; return the machines whose owner could not pay all.

    Due is what has used ten minutes that are not written, or all of its time.
    """
    unpaid = []
    going = Lease.objects.filter(ended_at__isnull=True, started_at__isnull=False)
    is_long = Q(used_s__gte=F("charged_s") + WRITTEN_EVERY_S)
    is_up = Q(used_s__gte=F("granted_s"), charged_s__lt=F("granted_s"))
    for lease_id in going.filter(is_long | is_up).values_list("pk", flat=True):
        with transaction.atomic():
            locked = Lease.objects.select_for_update(of=("self",))
            lease = locked.select_related("machine__owner").get(pk=lease_id)
            if lease.ended_at is None and charge_lease(lease.machine, lease):
                unpaid.append(lease.machine_id)
    return unpaid


def _say(machine: Machine) -> str:
    return say("machine_note", name=machine.name)


def _hold(machine: Machine, lease: Lease, mpoints: int) -> None:
    hold_points(
        user=machine.owner,
        mpoints=mpoints,
        run_id=lease.pk,
        note=_say(machine),
        part=lease.num_parts,
    )
