"""What a node says of its machines, and what becomes of them by that."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from studio.compute.models import Node
from studio.core.sentences import say
from studio.jobs.wakes import wake_user
from studio.machines.charging import count_time
from studio.machines.models import Lease, Machine, NodeEngine, Reason, Status
from studio.machines.moves import Move, make_end, move_machine
from studio.machines.progress import has_news, take_progress
from studio.machines.saving import take_saved
from workers.machines.orders import MachinePhase, MachineReport, MachineState

_COUNTED_EVERY_S = 4.0
_SENTENCES = {
    Reason.OUT_OF_MEMORY: say("machine_out_of_memory"),
    Reason.ENDED_BY_ITSELF: say("machine_ended"),
    Reason.CONTAINER_GONE: say("machine_container_gone"),
}


@dataclass(frozen=True)
class _News:
    machine: Machine
    state: MachineState
    now: datetime


def take_report(*, node: Node, report: MachineReport) -> None:
    """Note what a node's Docker engine and its machines are, each in its own transaction."""
    now = timezone.now()
    looked = {} if report.images is None else {"images": list(report.images)}
    NodeEngine.objects.update_or_create(
        node=node,
        defaults=looked
        | {
            "version": "" if report.problem else report.engine,
            "problem": report.problem,
            "relay_host": report.relay_host,
            "relay_port": report.relay_port,
            "studio_url": report.studio_url,
            "unlimited": list(report.unlimited),
            "reported_at": now,
        },
    )
    if not report.engine:  # it does not know what there is
        return
    take_saved(node, report.saved)
    states = {state.machine: state for state in report.machines}
    mine = Machine.objects.filter(node=node).exclude(status__in=[Status.STOPPED, Status.DELETED])
    for machine in mine.select_related("lease", "image"):
        state = states.get(machine.key)
        if machine.status == Status.DELETING:
            if state is None and machine.key not in report.strays:
                _move_locked(machine, Move(Status.DELETED))
        elif state is not None and _says_something(machine, state, now):
            _take_state(machine, state, now)


def _says_something(machine: Machine, state: MachineState, now: datetime) -> bool:
    """Say whether a state may change a row: most are signs of life, counted every few seconds."""
    if machine.status != Status.RUNNING or state.phase is not MachinePhase.RUNNING:
        return True
    lease = machine.lease
    return (
        bool(machine.message)
        or has_news(machine, state)
        or lease is None
        or lease.seen_at is None
        or (now - lease.seen_at).total_seconds() >= _COUNTED_EVERY_S
    )


@transaction.atomic
def _take_state(seen: Machine, state: MachineState, now: datetime) -> None:
    locked = Machine.objects.select_for_update(of=("self",))
    machine = locked.select_related("owner", "flavor", "lease", "image").get(pk=seen.pk)
    if state.life > machine.life:
        return
    news = _News(machine, state, now)
    if take_progress(machine, state, now):
        machine.save(update_fields=["progress"])
        wake_user(machine.owner_id, "machines")
    if machine.status == Status.STARTING:
        _take_starting(news)
    elif machine.status == Status.RUNNING:
        _take_running(news)
    elif machine.status == Status.STOPPING:
        _take_stopping(news)


def _take_starting(news: _News) -> None:
    machine, state = news.machine, news.state
    is_current = state.life == machine.life and state.start >= machine.start
    if state.phase is MachinePhase.RUNNING and is_current:
        move_machine(machine, Move(Status.RUNNING), now=news.now)
        _count(news)
    elif state.phase is MachinePhase.STOPPED and is_current:
        _end(news)
    elif state.phase is MachinePhase.ABSENT and state.life == machine.life:
        move_machine(machine, _gone())
    elif state.message and machine.message != state.message:
        machine.message = state.message
        machine.save(update_fields=["message"])
        wake_user(machine.owner_id, "machines")


def _take_running(news: _News) -> None:
    machine, state = news.machine, news.state
    if state.phase is MachinePhase.RUNNING:
        if machine.message:  # its node did not answer for a while
            machine.message = ""
            machine.save(update_fields=["message"])
            wake_user(machine.owner_id, "machines")
        _count(news)
    elif state.phase is MachinePhase.STOPPED:
        _end(news)
    elif state.phase is MachinePhase.ABSENT:
        move_machine(machine, _gone())


def _take_stopping(news: _News) -> None:
    machine, state = news.machine, news.state
    if state.phase is MachinePhase.RUNNING:
        _count(news)  # it still runs: at most ten seconds of it, and they are used
        return
    if machine.restarts and state.phase is MachinePhase.STOPPED:
        machine.restarts = False
        machine.start += 1
        machine.shutdown_reason = Reason.NONE
        move_machine(machine, Move(Status.STARTING))
        return
    if state.phase in {MachinePhase.STOPPED, MachinePhase.ABSENT}:
        move_machine(machine, make_end(machine))


def _count(news: _News) -> None:
    lease = news.machine.lease
    assert lease is not None, "what runs has a lease"
    lease = Lease.objects.select_for_update().get(pk=lease.pk)
    if lease.ended_at is None:
        count_time(lease, news.now)
    news.machine.lease = lease


def _end(news: _News) -> None:
    reason = Reason.OUT_OF_MEMORY if news.state.was_out_of_memory else Reason.ENDED_BY_ITSELF
    move_machine(news.machine, Move(Status.STOPPED, reason, _SENTENCES[reason]))


def _gone() -> Move:
    return Move(Status.STOPPED, Reason.CONTAINER_GONE, _SENTENCES[Reason.CONTAINER_GONE])


@transaction.atomic
def _move_locked(machine: Machine, move: Move) -> None:
    locked = Machine.objects.select_for_update(of=("self",))
    move_machine(locked.select_related("owner", "lease").get(pk=machine.pk), move)
