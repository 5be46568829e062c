"""The idle rule at work: gathers what shows that machines are used, and stops what is not."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import BadInput, Conflict, NotFound
from studio.core.sentences import say
from studio.jobs.wakes import wake_user
from studio.machines import services
from studio.machines.charging import get_ends_at
from studio.machines.idle import Seen, Sign, Signals, State, Verdict, decide
from studio.machines.models import Activity, Machine, Reason, Status
from studio.machines.moments import Live, read_live, read_presence, take_look
from workers.machines.measures import MachineUsage

MOST_KEPT_S = 24 * 3600
_BUSY_CORES = 0.3
"""What editors and notebooks that nobody looks at use stays well below it."""
_BUSY_GPU = 0.02
_WRITTEN_EVERY_S = 30.0


def judge_machines() -> None:
    """Look at every running machine, note when it was used, and stop what was idle for too long."""
    now, has_looked = timezone.now(), take_look()
    running = list(_list_running())
    seen = _gather(running, has_looked=has_looked)
    notes, due = [], []
    for machine in running:
        signals = _make_signals(machine, seen[machine.key])
        verdict = decide(signals, now)
        if note := _make_note(machine, verdict):
            notes.append(note)
        if verdict.is_due(now):
            due.append(machine.pk)
    Activity.objects.bulk_create(
        notes,
        update_conflicts=True,
        unique_fields=["machine"],
        update_fields=["active_at", "sign"],
        batch_size=500,
    )
    for pk in due:
        _stop_idle(pk)


@transaction.atomic
def keep_machine(*, by: User, machine: Machine, duration_s: int) -> Machine:
    """Have a machine go on for some time, used or not, but no longer than its lease; 0 ends that.

    Raises:
        NotFound: it is not the caller's.
        Conflict: it does not run.
        BadInput: the time is too long.
    """
    machine = _lock(machine.pk)
    if machine.owner_id != by.pk:
        raise NotFound
    if machine.status != Status.RUNNING or machine.lease is None:
        raise Conflict("This machine does not run now: start it.", code="machine_not_running")
    if not 0 <= duration_s <= MOST_KEPT_S:
        raise BadInput(
            f"duration_s: from 0 to {MOST_KEPT_S} seconds.",
            field="duration_s",
            code="bad_duration",
            least_s=0,
            most_s=MOST_KEPT_S,
        )
    now = timezone.now()
    until = now + timedelta(seconds=duration_s)
    if ends_at := get_ends_at(machine.lease):
        until = min(until, ends_at)
    kept_until = until if duration_s else None
    Activity.objects.update_or_create(
        machine=machine,
        defaults={"active_at": now, "sign": Sign.KEPT, "kept_until": kept_until},
    )
    audit.record("machine.kept", actor=by, subject=machine.key, seconds=duration_s)
    wake_user(machine.owner_id, "machines")
    return machine


def get_verdict(machine: Machine, now: datetime) -> Verdict | None:
    """Return what the last look at a running machine says of it now; None of one that does not run.

    Reads nothing but the machine with its image and activity.
    """
    if machine.status != Status.RUNNING:
        return None
    activity: Activity | None = getattr(machine, "activity", None)
    quiet: dict[Sign, Seen] = dict.fromkeys(Sign, False)
    signals = _make_signals(machine, quiet)
    if activity is None:  # nobody has looked yet
        signals = _make_signals(machine, {})
    return decide(signals, now)


def show_idle(machine: Machine) -> dict[str, Any] | None:
    """Return what the API says of a machine's idleness; None of one to which it says nothing."""
    activity: Activity | None = getattr(machine, "activity", None)
    verdict = get_verdict(machine, timezone.now())
    if verdict is None:
        if machine.reason != Reason.IDLE or activity is None:
            return None
        verdict = Verdict(State.IDLE, Sign(activity.sign), activity.active_at)
    now, kept_until = timezone.now(), activity.kept_until if activity else None
    return {
        "state": verdict.state.value,
        "sign": verdict.sign.value,
        "active_at": verdict.active_at,
        "stops_at": verdict.stops_at,
        "kept_until": kept_until if kept_until and kept_until > now else None,
        "idle_s": get_idle_s(machine),
    }


def get_idle_s(machine: Machine) -> int:
    """Return after how much idleness a machine stops; 0 is never."""
    own = machine.image.idle_s
    return int(settings.MACHINE_IDLE_S) if own is None else own


@transaction.atomic
def _stop_idle(machine_id: UUID) -> None:
    """Stop a machine if it is idle still, now that nobody else can change that."""
    machine = _lock(machine_id)
    if machine.status != Status.RUNNING:
        return
    now = timezone.now()
    seen = _gather([machine], has_looked=True)
    verdict = decide(_make_signals(machine, seen[machine.key]), now)
    if verdict.is_due(now):
        since = verdict.active_at.astimezone(UTC)
        message = say("machine_idle", since=f"{since:%H:%M}")
        services.stop_machine(by=None, machine=machine, reason=Reason.IDLE, message=message)


def _list_running() -> Iterable[Machine]:
    running = Machine.objects.filter(status=Status.RUNNING)
    return running.select_related("image", "activity").iterator()


def _lock(machine_id: UUID) -> Machine:
    locked = Machine.objects.select_for_update(of=("self",))
    return locked.select_related("owner", "image", "lease", "activity").get(pk=machine_id)


def _gather(machines: list[Machine], *, has_looked: bool) -> dict[str, dict[Sign, Seen]]:
    """Return what shows that machines are used; of a time without a look nothing is known."""
    keys = [machine.key for machine in machines]
    if not has_looked:
        return {key: {} for key in keys}
    live, present = read_live(keys), read_presence(keys)
    return {key: _read_live(live.get(key)) | _read_presence(present.get(key, {})) for key in keys}


def _read_presence(present: dict[str, float]) -> dict[Sign, Seen]:
    return {
        sign: datetime.fromtimestamp(present[sign.value], UTC) if sign.value in present else False
        for sign in (Sign.BROWSER, Sign.SSH)
    }


def _read_live(live: Live | None) -> dict[Sign, Seen]:
    if live is None:
        return {}
    usage, signs = live.usage, live.usage.signs
    return {
        Sign.RUN: _is(signs.num_runs, lambda num: num > 0),
        Sign.KERNEL: signs.is_kernel_busy,
        Sign.GPU: _is(signs.gpu_busy_lately, lambda ratio: ratio >= _BUSY_GPU),
        Sign.CPU: _is(signs.cores_lately, lambda cores: cores >= _busy_cores(usage)),
        Sign.TERMINAL: _read_terminal(live),
    }


def _read_terminal(live: Live) -> Seen:
    at = live.usage.signs.terminal_at
    if not at:
        return None if at is None else False
    ago_s = max(0.0, live.usage.taken_at - at)  # both by the node's clock
    return datetime.fromtimestamp(live.heard_at - ago_s, UTC)


def _busy_cores(usage: MachineUsage) -> float:
    return min(_BUSY_CORES, usage.cores_limit / 2)


def _is(figure: float | None, claim: Any) -> bool | None:
    return None if figure is None else bool(claim(figure))


def _make_signals(machine: Machine, seen: dict[Sign, Seen]) -> Signals:
    activity: Activity | None = getattr(machine, "activity", None)
    return Signals(
        idle_s=get_idle_s(machine),
        begun_at=machine.status_since,
        seen=seen,
        active_at=activity.active_at if activity else None,
        active_sign=Sign(activity.sign) if activity else Sign.STARTED,
        kept_until=activity.kept_until if activity else None,
    )


def _make_note(machine: Machine, verdict: Verdict) -> Activity | None:
    """Return what is to be written down; None where what is there says about the same."""
    known: Activity | None = getattr(machine, "activity", None)
    if known is not None and known.sign == verdict.sign.value:
        step_s = min(_WRITTEN_EVERY_S, get_idle_s(machine) / 8)
        if (verdict.active_at - known.active_at).total_seconds() <= step_s:
            return None
    return Activity(machine=machine, active_at=verdict.active_at, sign=verdict.sign.value)
