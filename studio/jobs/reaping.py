"""Ends what shows no sign of life. Every status that costs points has a deadline here.

| status   | what is missing                                  | after  | becomes               |
| starting | the node is there and knows nothing of the run   | 2 min  | failed, launch_failed |
| stopping | any sign of life                                 | 30 s   | stopped               |
| any      | any sign of life (a cut shorter than that heals) | 30 min | failed, node_lost     |

A queued run has no deadline: it costs nothing, says what it waits for, and can be stopped.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from engine.status import Reason, Status
from studio.compute.selectors import is_online
from studio.core.sentences import say
from studio.jobs.models import Run
from studio.jobs.moves import Move, move_run

SILENT_S = 15.0
STARTING_S = 120.0
STOPPING_S = 30.0
LOST_S = 30 * 60.0
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
    ids = {*quiet.values_list("pk", flat=True), *starting.values_list("pk", flat=True)}
    return sum(_reap(run_id) for run_id in ids)


@transaction.atomic
def _reap(run_id: UUID) -> bool:
    locked = Run.objects.select_for_update(of=("self",))
    run = locked.select_related("job__owner", "job__flavor", "node").get(pk=run_id)
    move = _judge(run, timezone.now())
    return move_run(run, move) if move else False


def _judge(run: Run, now: datetime) -> Move | None:
    silent_s = _seconds(run.last_heartbeat_at, now)
    if run.status == Status.STOPPING and silent_s > STOPPING_S:
        return Move(Status.STOPPED, Reason(run.stop_reason), run.stop_message)
    if run.status in _HELD and silent_s > LOST_S:
        message = say("run_node_silent", node=run.node, minutes=f"{silent_s / 60:.0f}")
        return Move(Status.FAILED, Reason.NODE_LOST, message)
    if run.status == Status.STARTING and _seconds(run.claimed_at, now) > STARTING_S:
        return _judge_launch(run, now)
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
