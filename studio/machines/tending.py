"""The deadlines of machines: every status but stopped ends by itself if nothing else ends it."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from studio.core.sentences import say
from studio.jobs.wakes import wake_user
from studio.machines.models import GOES, Machine, PublishedPort, Reason, Status
from studio.machines.moments import note_tending
from studio.machines.moves import Move, make_end, move_machine

SILENT_S = 10.0
"""After which a page says that the node does not answer: deadlines are looked at each four seconds,
and the truth is told within fifteen."""
LOST_S = 30 * 60.0
"""As long as a run's node has: machines go on beside a node that is cut off or made anew."""
_START_WITHIN = timedelta(minutes=15)
_STOP_WITHIN = timedelta(minutes=5)
_DELETE_WITHIN = timedelta(hours=1)
_WAIT_WITHIN = timedelta(days=7)


def tend_machines() -> None:
    """Look at every machine that goes, and end what has gone past its deadline."""
    now = timezone.now()
    since = note_tending(now.timestamp())
    going = Machine.objects.filter(status__in=[*GOES, Status.DELETING])
    for machine in going.select_related("node__machine_engine", "lease"):
        if _may_be_due(machine, now, since):
            _tend(machine, since)
    PublishedPort.objects.filter(until__lte=now - timedelta(days=1)).delete()


def _may_be_due(machine: Machine, now: datetime, heard_since: float) -> bool:
    """Say whether a machine is worth a lock: almost none is, of thousands."""
    deadlines = {
        Status.QUEUED: _WAIT_WITHIN,
        Status.DELETING: _DELETE_WITHIN,
        Status.STARTING: _START_WITHIN,
        Status.STOPPING: _STOP_WITHIN,
    }
    within = deadlines.get(Status(machine.status), timedelta.max)
    return now - machine.status_since > within or _get_silence_s(machine, heard_since) > SILENT_S


@transaction.atomic
def _tend(seen: Machine, heard_since: float) -> None:
    locked = Machine.objects.select_for_update(of=("self",))
    machine = locked.select_related("owner", "lease", "node__machine_engine").get(pk=seen.pk)
    if machine.status != seen.status:
        return
    now = timezone.now()
    since = now - machine.status_since
    silent_s = _get_silence_s(machine, heard_since)
    if machine.status == Status.DELETING:
        if since > _DELETE_WITHIN:  # a node ends whatever it has no order for, when it is back
            move_machine(machine, Move(Status.DELETED))
    elif machine.status == Status.QUEUED:
        if since > _WAIT_WITHIN:
            told = say("machine_waited_too_long", days=str(_WAIT_WITHIN.days))
            move_machine(machine, Move(Status.STOPPED, Reason.START_FAILED, told))
    elif silent_s > LOST_S and since.total_seconds() > LOST_S:
        move_machine(machine, Move(Status.STOPPED, Reason.NODE_LOST, say("machine_node_lost")))
    elif machine.status == Status.STARTING and since > _START_WITHIN:
        told = machine.message or say("machine_not_started")
        move_machine(machine, Move(Status.STOPPED, Reason.START_FAILED, told))
    elif machine.status == Status.STOPPING and since > _STOP_WITHIN:
        move_machine(machine, make_end(machine))  # its order says so still
    elif silent_s > SILENT_S and not machine.message:
        machine.message = say("machine_node_silent")
        machine.save(update_fields=["message"])
        wake_user(machine.owner_id, "machines")


def _get_silence_s(machine: Machine, heard_since: float) -> float:
    """Return for how long the node has told nothing of its machines while the studio listened; 0 of
    one without a node.
    """
    engine = getattr(machine.node, "machine_engine", None)
    if engine is None:
        return 0.0
    told_at = engine.reported_at
    if not engine.version and machine.lease and machine.lease.seen_at:
        told_at = machine.lease.seen_at
    return timezone.now().timestamp() - max(told_at.timestamp(), heard_since)
