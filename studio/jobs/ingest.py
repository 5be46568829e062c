"""The way up: a node claims its run, then posts what it says. A post may come twice, late or never.

One post is one transaction under the run's row lock. The answer names the next event wanted, so a
gap and a repeat mend themselves, and carries the wish to stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from engine.events import Event, StatusEvent
from engine.status import Reason, Status
from studio.core import audit
from studio.core.errors import BadInput, Conflict
from studio.core.sentences import say
from studio.jobs.models import Run
from studio.jobs.moves import Move, move_run
from studio.jobs.stored import apply_events
from studio.jobs.wakes import wake_run_viewers

_ELSEWHERE = "This run was given to another node."


@dataclass(frozen=True)
class Claim:
    """Whether the node may start the run; if not, why."""

    start: bool
    reason: str = ""


@dataclass(frozen=True)
class Post:
    """What a reporter sends: the node's clock, whether the engine lives, and what is new."""

    now: float
    alive: bool
    events: Sequence[Event]


@dataclass(frozen=True)
class Receipt:
    """What it gets: the next event wanted, and the wish to stop as (reason, message)."""

    next_seq: int
    stop: tuple[str, str] | None


@transaction.atomic
def claim_run(*, run: Run, placement_number: int) -> Claim:
    """Let a node start the run: once, or again by the same node while the run has said nothing.

    `placement_number` is what the node's token was made for.
    """
    run = _lock(run)
    if run.is_final or run.status == Status.STOPPING:
        return Claim(start=False, reason=f"The run is {run.status}.")
    if placement_number != run.placement_number or run.node_id is None:
        return Claim(start=False, reason=_ELSEWHERE)
    if run.next_seq:
        return Claim(start=False, reason="The run has started already.")
    if run.claimed_at is None:
        run.claimed_at = run.last_heartbeat_at = timezone.now()
        move_run(run, Move(Status.STARTING))
        audit.record("run.claimed", actor=None, subject=str(run.pk), node=str(run.node))
    return Claim(start=True)


@transaction.atomic
def refuse_run(*, run: Run, placement_number: int, fields: Sequence[str]) -> bool:
    """End a run that its node cannot read, and say whether this did.

    A refusal that comes again, after a claim, or from a node that the run was taken off, does
    nothing.
    """
    run = _lock(run)
    is_here = placement_number == run.placement_number and run.node_id is not None
    if run.status != Status.QUEUED or run.claimed_at is not None or not is_here:
        return False
    message = say("run_refused", node=run.node, fields=", ".join(fields) or "spec")
    audit.record("run.refused", actor=None, subject=str(run.pk), node=str(run.node))
    return move_run(run, Move(Status.FAILED, Reason.LAUNCH_FAILED, message))


@transaction.atomic
def ingest_events(*, run: Run, post: Post) -> Receipt:
    """Store what is new, prove life, and answer the next event wanted.

    Raises:
        BadInput: the events are not numbered one after the other.
        Conflict: the run was never claimed.
    """
    _check_consecutive(post.events)
    run = _lock(run)
    if run.claimed_at is None:
        raise Conflict("Claim the run first: nothing can come from a run that has not started.")
    fresh = [event for event in post.events if event.seq >= run.next_seq]
    if run.is_closed or (fresh and fresh[0].seq != run.next_seq):
        fresh = []
    now = timezone.now()
    if post.alive or fresh:
        run.last_heartbeat_at = now
    is_moved = apply_events(run, fresh)
    moves = [_to_move(event, post.now, now, run) for event in fresh if event.type == "status"]
    _prove_life(run, post, fresh)
    run.save()
    for move in moves:
        move_run(run, move)
    if fresh:
        wake_run_viewers(run, is_moved=is_moved or bool(moves))
    return Receipt(next_seq=run.next_seq, stop=_get_stop(run))


def _lock(run: Run) -> Run:
    locked = Run.objects.select_for_update(of=("self",))
    return locked.select_related("job__owner", "job__flavor").get(pk=run.pk)


def _check_consecutive(events: Sequence[Event]) -> None:
    for index, event in enumerate(events):
        wanted = events[0].seq + index
        if event.seq != wanted:
            raise BadInput(
                f"events.{index}.seq is {event.seq}, and {wanted} must come there: "
                "send events in order, without gaps.",
                field=f"events.{index}.seq",
                seq=event.seq,
                wanted=wanted,
            )


def _prove_life(run: Run, post: Post, fresh: Sequence[Event]) -> None:
    """Move the node's clock marks: set by the engine's start, carried on by each sign of life."""
    for event in fresh:
        if not isinstance(event, StatusEvent):
            continue
        if event.status is Status.RUNNING and run.node_started_time is None:
            run.node_started_time = run.node_seen_time = event.time
        if run.is_closed and run.node_started_time is not None:
            run.node_seen_time = max(run.node_started_time, event.time)
    if run.node_started_time is not None and not run.is_closed and not run.is_final and post.alive:
        run.node_seen_time = max(run.node_seen_time or run.node_started_time, post.now)


def _to_move(event: StatusEvent, node_now: float, now: datetime, run: Run) -> Move:
    """Carry the event's time over to the studio's clock, never before the claim nor after now."""
    at = now - timedelta(seconds=max(0.0, min(node_now - event.time, 10.0**8)))
    earliest = max(filter(None, (run.claimed_at, run.started_at)), default=at)
    return Move(event.status, event.reason, event.message, at=max(at, earliest))


def _get_stop(run: Run) -> tuple[str, str] | None:
    if run.is_closed:
        return None
    if run.is_final:
        return run.reason, run.message
    return (run.stop_reason, run.stop_message) if run.stop_reason else None
