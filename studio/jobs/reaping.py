"""Ends what shows no sign of life. Every status has a deadline here.

| status   | what is missing                                  | after  | becomes               |
| queued   | a node that takes what it is sent                | 10 min | failed, launch_failed |
| queued   | a node with room                                 | 7 days | failed, no_node       |
| starting | the node is there and knows nothing of the run   | 2 min  | failed, launch_failed |
| stopping | any sign of life                                 | 30 s   | stopped               |
| any      | any sign of life (a cut shorter than that heals) | 30 min | failed, node_lost     |

The ten minutes are counted in orders that were sent, so that a broker's absence is not held against
a node. Waiting costs nothing but the hold, says what it is for, and can be stopped.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from engine.status import Reason, Status
from studio.compute.selectors import is_online
from studio.core.sentences import say
from studio.jobs.models import Run
from studio.jobs.moves import Move, move_run
from studio.jobs.scheduler import RESEND_S

SILENT_S = 15.0
STARTING_S = 120.0
STOPPING_S = 30.0
LOST_S = 30 * 60.0
MOST_ORDERS = 120  # one each 5 s
WAITING = timedelta(days=7)
_HELD = [Status.STARTING.value, Status.RUNNING.value, Status.STOPPING.value]


def reap_runs() -> int:
    """End the runs whose deadline has passed; return how many."""
    now = timezone.now()
    quiet = Run.objects.filter(
        status__in=_HELD, last_heartbeat_at__lt=now - timedelta(seconds=SILENT_S)
    )
    starting = Run.objects.filter(
        status=Status.STARTING.value, claimed_at__lt=now - timedelta(seconds=STARTING_S)
    )
    untaken = Run.objects.filter(
        Q(num_orders__gte=MOST_ORDERS, node__isnull=False) | Q(status_since__lt=now - WAITING),
        status=Status.QUEUED.value,
        claimed_at__isnull=True,
    )
    found = (quiet, starting, untaken)
    ids = {run_id for runs in found for run_id in runs.values_list("pk", flat=True)}
    return sum(_reap(run_id) for run_id in ids)


@transaction.atomic
def _reap(run_id: UUID) -> bool:
    locked = Run.objects.select_for_update(of=("self",))
    run = locked.select_related("job__owner", "job__flavor", "node").get(pk=run_id)
    move = _judge(run, timezone.now())
    return move_run(run, move) if move else False


def _judge(run: Run, now: datetime) -> Move | None:
    if run.status == Status.QUEUED:
        return _judge_queued(run, now)
    silent_s = _seconds(run.last_heartbeat_at, now)
    if run.status == Status.STOPPING and silent_s > STOPPING_S:
        return Move(Status.STOPPED, Reason(run.stop_reason), run.stop_message)
    if run.status in _HELD and silent_s > LOST_S:
        message = say("run_node_silent", node=run.node, minutes=f"{silent_s / 60:.0f}")
        return Move(Status.FAILED, Reason.NODE_LOST, message)
    if run.status == Status.STARTING and _seconds(run.claimed_at, now) > STARTING_S:
        return _judge_launch(run, now)
    return None


def _judge_queued(run: Run, now: datetime) -> Move | None:
    if run.claimed_at is not None:
        return None
    if run.node is not None and run.num_orders >= MOST_ORDERS:
        minutes = f"{MOST_ORDERS * RESEND_S / 60:.0f}"
        message = say("run_not_taken", node=run.node, minutes=minutes)
        return Move(Status.FAILED, Reason.LAUNCH_FAILED, message)
    if now - run.status_since > WAITING:
        message = say("run_waited_too_long", days=str(WAITING.days))
        return Move(Status.FAILED, Reason.NO_NODE, message)
    return None


def _judge_launch(run: Run, now: datetime) -> Move | None:
    """Give up on a launch only when the node itself says that nothing of it is there."""
    node = run.node
    if node is None or not is_online(node, now=now) or str(run.pk) in node.run_ids:
        return None
    message = say("run_not_started", node=node)
    return Move(Status.FAILED, Reason.LAUNCH_FAILED, message)


def _seconds(since: datetime | None, now: datetime) -> float:
    return (now - since).total_seconds() if since else 0.0
