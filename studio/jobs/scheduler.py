"""Gives queued runs to nodes and sends the orders.

First come, first served, those of owners with fewer runs going before others. Cores and devices are
given to one run alone; memory is counted for all. A run that must wait keeps later ones off the
nodes that could hold it, so that a large run is never starved by small ones, or by machines.

A placement is a row in the database; an order is only its message, sent again every 5 s until the
node claims the run. A lost message, or a broker that comes back empty, therefore loses nothing.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from celery import Celery
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis.exceptions import RedisError

from engine.specs import JOB_SPEC, ScriptSpec
from engine.status import Reason, Status
from studio.compute.models import Node
from studio.compute.rooms import (
    Occupant,
    Room,
    Waiting,
    is_reserved,
    list_reserved,
    measure_rooms,
)
from studio.compute.selectors import can_ever_hold, is_online
from studio.core import audit
from studio.core.sentences import say
from studio.jobs.containers import keep_able, make_container_order, needs_container
from studio.jobs.hooks import get_listener
from studio.jobs.models import LIVE, Run
from studio.jobs.moves import Move, move_run
from studio.jobs.run_tokens import make_run_token
from studio.jobs.wakes import wake_run_viewers
from workers.orders import RunOrder, send_run_order
from workers.unreadable import name_fields

log = structlog.get_logger(__name__)

RESEND_S = 5.0
_ORDER_LASTS_S = 60.0
_NODE_DEAF_S = 60.0  # a node that has not claimed by then is passed over where there is another


@transaction.atomic
def place_runs() -> int:
    """Give every queued run that has room a node; return how many were given one.

    The nodes' row locks let one scheduler place at a time.
    """
    nodes = list(Node.objects.select_for_update().order_by("pk"))
    online = {node.pk: node for node in nodes if is_online(node)}
    waiting = _take_back(online)
    rooms = measure_rooms(online.values())
    reserved = list_reserved("run", rooms)
    blocked: set[int] = set()
    num_placed = 0
    for run in _in_turn(waiting):
        able = keep_able(online, run.job)
        kept = {pk for pk in rooms if is_reserved(reserved, pk, run.created_at)}
        room = _choose(run, {pk: rooms[pk] for pk in able}, blocked | kept)
        if room is not None:
            _place(run, room)
            num_placed += 1
            continue
        flavor = run.job.flavor
        if flavor.is_exclusive:
            blocked |= {pk for pk, node in able.items() if can_ever_hold(node, flavor)}
        _say_why(run, online, able)
    return num_placed


def send_orders(app: Celery) -> int:
    """Send the order of each placed run that no node has claimed, at most every 5 s; count them.

    Runs outside of any transaction. With the broker away it stops, and the next call goes on.
    """
    since = timezone.now() - timedelta(seconds=RESEND_S)
    due = Run.objects.filter(status=Status.QUEUED, node__isnull=False, claimed_at__isnull=True)
    due = due.filter(Q(order_sent_at__isnull=True) | Q(order_sent_at__lt=since))
    num_sent = 0
    for run in due.select_related("job__owner", "job__flavor", "node").order_by("created_at"):
        assert run.node is not None
        try:
            order = make_order(run)
        except ValidationError as error:  # launched before an upgrade: others' orders shall go
            _end_unreadable(run, error)
            continue
        try:
            send_run_order(app, order, node=run.node.name)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("order.not_sent", run_id=str(run.pk), error=str(error))
            return num_sent
        sent = {"order_sent_at": timezone.now(), "num_orders": F("num_orders") + 1}
        Run.objects.filter(pk=run.pk).update(**sent)
        log.info("order.sent", run_id=str(run.pk), node=run.node.name)
        num_sent += 1
    return num_sent


def make_order(run: Run) -> RunOrder:
    """Return the order for a placed run: spec with pinned refs, share of the node, token."""
    job, now = run.job, time.time()
    spec = JOB_SPEC.validate_python({**job.spec, **job.resolved})
    return RunOrder(
        run_id=str(run.pk),
        job_id=str(job.pk),
        run_index=run.index,
        spec=spec,
        container=make_container_order(run, spec) if isinstance(spec, ScriptSpec) else None,
        run_token=make_run_token(run),
        num_threads=job.flavor.cores,
        memory_bytes=job.flavor.memory_bytes,
        devices=tuple(run.device_indexes),
        push_to=job.output_repo or None,
        server_token=get_listener(job.kind).get_server_token(run),
        resume_run_id=str(run.resume_run_id) if run.resume_run_id else None,
        provenance={
            "job": str(job.pk),
            "run": str(run.pk),
            "run_index": str(run.index),
            "node": run.node.name if run.node else "",
            "owner": job.owner.username,
            "flavor": job.flavor.name,
            **({"output": job.output_repo} if job.output_repo else {}),
        },
        issued_at=now,
        expires_at=now + _ORDER_LASTS_S,
    )


@transaction.atomic
def _end_unreadable(seen: Run, problem: ValidationError) -> None:
    locked = Run.objects.select_for_update(of=("self",)).select_related("job__owner", "job__flavor")
    run = locked.get(pk=seen.pk)
    if run.status != Status.QUEUED:
        return
    log.error("order.unreadable", run_id=str(run.pk), error=str(problem))
    message = say("run_unreadable", fields=", ".join(name_fields(problem, of_spec=True)))
    move_run(run, Move(Status.FAILED, Reason.BAD_SPEC, message))


def list_queue() -> list[UUID]:
    """Return the ids of the queued runs in the order in which they will be placed."""
    return [run.pk for run in _in_turn(list(_queued()))]


def _queued() -> QuerySet[Run]:
    queued = Run.objects.filter(status=Status.QUEUED, claimed_at__isnull=True)
    return queued.select_related("job__owner", "job__flavor", "node", "resume_run")


def _take_back(online: dict[int, Node]) -> list[Run]:
    """Return the runs without a node, or whose node went away or aside before it claimed them."""
    waiting = []
    deaf_since = timezone.now() - timedelta(seconds=_NODE_DEAF_S)
    locked = _queued().select_for_update(of=("self",))
    for run in locked:
        is_deaf = run.placed_at is not None and run.placed_at < deaf_since
        node = online.get(run.node_id or 0)
        if node is None or node.is_cordoned or (is_deaf and len(online) > 1):
            waiting.append(run)
    return waiting


def list_occupants(node_ids: Collection[int]) -> Iterator[Occupant]:
    """Return what runs hold of these nodes."""
    held = Run.objects.filter(status__in=LIVE, node_id__in=node_ids)
    for run in held.select_related("job__flavor"):
        assert run.node_id is not None
        yield Occupant(run.node_id, run.job.flavor, run.device_indexes)


def find_first(nodes: Sequence[Node]) -> Waiting | None:
    """Return the first waiting run that some of these nodes could hold for itself."""
    for run in _in_turn(list(_queued().filter(node__isnull=True))):
        flavor = run.job.flavor
        able = [node.pk for node in nodes if can_ever_hold(node, flavor) and not node.is_cordoned]
        if able and flavor.is_exclusive:
            return Waiting(run.created_at, able)
    return None


def _in_turn(runs: list[Run]) -> list[Run]:
    """Sort fairly: each owner's first run before anyone's second, going ones counted."""
    going: dict[int, int] = {}
    for owner_id in Run.objects.filter(
        status__in=LIVE, node__isnull=False, job__is_platform=False
    ).values_list("job__owner_id", flat=True):
        going[owner_id] = going.get(owner_id, 0) + 1
    ranked = []
    for run in sorted(runs, key=lambda run: (run.created_at, str(run.pk))):
        owner_id = run.job.owner_id
        ranked.append((0 if run.job.is_platform else going.get(owner_id, 0), run))
        going[owner_id] = going.get(owner_id, 0) + 1
    return [run for _, run in sorted(ranked, key=lambda pair: pair[0])]


def _choose(run: Run, rooms: dict[int, Room], blocked: set[int]) -> Room | None:
    """Return the fullest node with room; the one with the checkpoint first where it resumes."""
    flavor = run.job.flavor
    fitting = [
        room
        for pk, room in rooms.items()
        if room.fits(flavor)
        and not room.node.is_cordoned
        and not (flavor.is_exclusive and pk in blocked)
    ]
    home = run.resume_run.node_id if run.resume_run else None
    refused = run.node_id  # it was given the run before and did not claim it
    return min(
        fitting,
        key=lambda room: (room.node.pk == refused, room.node.pk != home, room.cores, room.node.pk),
        default=None,
    )


def _place(run: Run, room: Room) -> None:
    flavor = run.job.flavor
    run.node = room.node
    run.device_indexes = room.choose_devices(flavor)
    run.placement_number += 1
    run.order_sent_at = None
    run.placed_at = timezone.now()
    run.message = ""
    room.take(flavor, run.device_indexes)
    run.save()
    audit.record("run.placed", actor=None, subject=str(run.pk), node=room.node.name)
    wake_run_viewers(run, is_moved=True)


def _say_why(run: Run, online: dict[int, Node], able: dict[int, Node]) -> None:
    """Keep a sentence on the waiting run that says what it waits for."""
    flavor = run.job.flavor
    if not online:
        message = say("run_no_node")
    elif not able and needs_container(run.job):
        message = say("run_no_engine")
    elif not able:
        message = say("run_no_able")
    elif all(node.is_cordoned for node in able.values()):
        message = say("run_all_aside")
    elif not any(can_ever_hold(node, flavor) for node in able.values()):
        message = say("run_none_holds", flavor=flavor.title)
    else:
        message = say("run_all_busy")
    if run.message != message or run.node_id is not None:
        if run.node_id is not None:
            run.placement_number += 1  # an order that is still on its way starts nothing
        run.message, run.node, run.device_indexes = message, None, []
        run.save()
        wake_run_viewers(run, is_moved=True)
