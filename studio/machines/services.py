"""What people may do with their machines. What nodes say of them is in `reports`."""

from datetime import datetime
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from studio.accounts.models import Role, User
from studio.core import audit
from studio.core.errors import BadInput, Conflict, NotFound
from studio.core.sentences import say
from studio.drive.spaces import home_path
from studio.jobs.wakes import wake_user
from studio.machines.bells import kick_placing
from studio.machines.charging import extend_lease, open_lease
from studio.machines.models import (
    GOES,
    Audience,
    Image,
    Machine,
    PublishedPort,
    Reason,
    Status,
)
from studio.machines.moves import Move, move_machine
from studio.machines.saving import check_image_will_be, fail_saving, saving_already
from studio.machines.web.numbers import take_number
from studio.machines.wishes import (
    MOST_S,
    USUAL_S,
    Wish,
    check_duration,
    check_flavor_can_be,
    check_name,
    get_flavor_for,
    get_image,
    name_taken,
)

log = structlog.get_logger(__name__)

MOST_MACHINES = 20
MOST_PORTS = 50


def create_machine(*, owner: User, wish: Wish, image: Image | None = None) -> Machine:
    """Make a machine, hold points for its time, and queue it for a node.

    `image` is one that is offered to nobody by name, such as a clone's.

    Raises:
        BadInput: a field holds what it may not.
        Conflict: one of that name is there, or there are too many.
        PointsExhausted: the time costs more than is available.
    """
    name = check_name(wish.name)
    image = image or get_image(owner, wish.image)
    flavor = get_flavor_for(image, wish.flavor)
    duration_s = check_duration(wish.duration_s)
    mine = Machine.objects.filter(owner=owner).exclude(status=Status.DELETED)
    if mine.count() >= MOST_MACHINES:
        raise Conflict(
            f"You have {MOST_MACHINES} machines: delete one first.",
            code="too_many_machines",
            most=MOST_MACHINES,
        )
    home_path(owner)  # made where it is missing: its node mounts it
    now = timezone.now()
    try:
        with transaction.atomic():
            machine = Machine.objects.create(
                owner=owner,
                name=name,
                image=image,
                flavor=flavor,
                status=Status.QUEUED,
                status_since=now,
                created_at=now,
            )
            open_lease(machine, duration_s)
            machine.save(update_fields=["lease"])
            audit.record("machine.created", actor=owner, subject=machine.key, flavor=flavor.name)
            wake_user(owner.pk, "machines", "points")
            kick_placing()
    except IntegrityError as error:
        raise name_taken(name) from error
    return machine


@transaction.atomic
def start_machine(*, by: User, machine: Machine, duration_s: int = USUAL_S) -> Machine:
    """Queue a stopped machine again, under a new lease; one that goes already is left going.

    Raises:
        NotFound: it is not the caller's.
        PointsExhausted: the time costs more than is available.
    """
    machine = _lock(by, machine)
    if machine.status in GOES and machine.status != Status.STOPPING:
        return machine
    _expect(machine, Status.STOPPED)
    check_flavor_can_be(machine.flavor, machine.image)
    check_image_will_be(machine.image)
    machine.start += 1
    if machine.reason == Reason.CONTAINER_GONE:  # what it was is lost: begin from the image
        machine.life += 1
        machine.node, machine.device_indexes = None, []
    move_machine(machine, Move(Status.QUEUED))
    open_lease(machine, check_duration(duration_s))
    machine.save(update_fields=["lease"])
    audit.record("machine.started", actor=by, subject=machine.key)
    return machine


@transaction.atomic
def stop_machine(
    *,
    by: User | None,
    machine: Machine,
    reason: Reason = Reason.STOPPED_BY_OWNER,
    message: str = "",
) -> Machine:
    """Stop a machine; its files stay. One that does not run is left. `by` None is the platform.

    The message says more of why, where the reason alone does not.

    Raises:
        NotFound: it is neither the caller's nor the caller an operator.
    """
    machine = _lock(by, machine, for_operators=True)
    if by is not None and by != machine.owner:
        reason = Reason.STOPPED_BY_OPERATOR
    if machine.status == Status.QUEUED:
        move_machine(machine, Move(Status.STOPPED, reason))
    elif machine.status in {Status.STARTING, Status.RUNNING}:
        machine.shutdown_reason = reason
        move_machine(machine, Move(Status.STOPPING, reason, message))
    elif machine.status == Status.STOPPING and machine.restarts:
        machine.restarts, machine.shutdown_reason = False, reason
        machine.save(update_fields=["restarts", "shutdown_reason"])
    else:
        return machine
    audit.record("machine.stopped", actor=by, subject=machine.key, reason=reason.value)
    return machine


@transaction.atomic
def restart_machine(*, by: User, machine: Machine) -> Machine:
    """Stop a running machine and start it at once, in its place and under its lease.

    Raises:
        NotFound: it is not the caller's.
        Conflict: it does not run.
    """
    machine = _lock(by, machine)
    _expect(machine, Status.RUNNING)
    machine.restarts = True
    machine.shutdown_reason = Reason.STOPPED_BY_OWNER
    move_machine(machine, Move(Status.STOPPING))
    audit.record("machine.restarted", actor=by, subject=machine.key)
    return machine


@transaction.atomic
def extend_machine(*, by: User, machine: Machine, duration_s: int) -> Machine:
    """Hold points for more time.

    Raises:
        NotFound: it is not the caller's.
        Conflict: it does not go.
        BadInput: with it, it would go longer than a machine may.
        PointsExhausted: the time costs more than is available.
    """
    machine = _lock(by, machine)
    if machine.status not in GOES or machine.lease is None:
        raise _wrong_state(machine)
    extra_s = check_duration(duration_s)
    left_s = machine.lease.granted_s - machine.lease.used_s
    if left_s + extra_s > MOST_S:
        raise BadInput(
            f"duration_s: a machine may go {MOST_S // 3600} more hours at most: ask for less.",
            field="duration_s",
            code="too_long",
            most_s=MOST_S,
        )
    extend_lease(machine, extra_s)
    audit.record("machine.extended", actor=by, subject=machine.key, seconds=extra_s)
    wake_user(machine.owner_id, "machines", "points")
    return machine


@transaction.atomic
def change_machine(
    *, by: User, machine: Machine, flavor: str | None = None, image: str | None = None
) -> Machine:
    """Give a stopped machine another flavor or image: its container is made anew, its home kept.

    Raises:
        NotFound: it is not the caller's.
        Conflict: it has not stopped.
        BadInput: there is no such flavor or image, or they do not go together.
    """
    machine = _lock(by, machine)
    _expect(machine, Status.STOPPED)
    _expect_unsaved(machine)
    chosen = machine.image if image is None else get_image(by, image)
    machine.flavor = get_flavor_for(chosen, flavor or machine.flavor.name)
    machine.image = chosen
    _renew(machine)
    audit.record("machine.changed", actor=by, subject=machine.key, flavor=machine.flavor.name)
    return machine


@transaction.atomic
def reset_machine(*, by: User, machine: Machine) -> Machine:
    """Make a stopped machine's container anew from its image at the next start; the home is kept.

    Raises:
        NotFound: it is not the caller's.
        Conflict: it has not stopped.
    """
    machine = _lock(by, machine)
    _expect(machine, Status.STOPPED)
    _expect_unsaved(machine)
    _renew(machine)
    audit.record("machine.reset", actor=by, subject=machine.key)
    return machine


@transaction.atomic
def rename_machine(*, by: User, machine: Machine, name: str) -> Machine:
    """Give a machine another name; `ssh` knows it by the new one at once.

    Raises:
        NotFound: it is not the caller's.
        BadInput: the name is none.
        Conflict: it is taken.
    """
    machine = _lock(by, machine)
    machine.name = check_name(name)
    try:
        with transaction.atomic():
            machine.save(update_fields=["name"])
    except IntegrityError as error:
        raise name_taken(name) from error
    wake_user(machine.owner_id, "machines")
    return machine


@transaction.atomic
def delete_machine(*, by: User, machine: Machine) -> None:
    """Delete a machine, running or not, for good; the drive that is its home is kept.

    Raises:
        NotFound: it is neither the caller's nor the caller an operator.
    """
    machine = _lock(by, machine, for_operators=True)
    machine.ports.all().delete()
    fail_saving(machine, say("saving_machine_deleted"))
    has_container = machine.node_id is not None
    move_machine(machine, Move(Status.DELETING if has_container else Status.DELETED))
    audit.record("machine.deleted", actor=by, subject=machine.key)


def publish_port(
    *, by: User, machine: Machine, port: int, audience: Audience, until: datetime | None
) -> PublishedPort:
    """Open a port of a machine for others, until a time where one is given.

    Raises:
        NotFound: it is not the caller's.
        BadInput: the port is none that may be published, or the time is past.
        Conflict: there are too many.
    """
    _check_owner(by, machine)
    if not 1 <= port <= 65535 or port == 22:
        raise BadInput(
            "port: pick one from 1 to 65535, and not SSH's.", field="port", code="bad_port"
        )
    if until is not None and until <= timezone.now():
        raise BadInput(
            "until: this time is past: pick one to come.", field="until", code="time_past"
        )
    known = PublishedPort.objects.filter(machine=machine)
    if known.count() >= MOST_PORTS and not known.filter(port=port).exists():
        raise Conflict(
            f"This machine has {MOST_PORTS} published ports: end one first.",
            code="too_many_ports",
            most=MOST_PORTS,
        )
    take_number(machine, port)
    made, _ = PublishedPort.objects.update_or_create(
        machine=machine, port=port, defaults={"audience": audience, "until": until}
    )
    audit.record("machine.port", actor=by, subject=machine.key, port=port, audience=str(audience))
    return made


def unpublish_port(*, by: User, machine: Machine, port: int) -> None:
    """Close a published port; who is connected is let go within seconds.

    Raises:
        NotFound: it is not the caller's.
    """
    _check_owner(by, machine)
    PublishedPort.objects.filter(machine=machine, port=port).delete()
    audit.record("machine.port_closed", actor=by, subject=machine.key, port=port)


def end_unpaid(machine_ids: list[UUID]) -> None:
    """Stop the machines whose owners have no points left."""
    for machine in Machine.objects.filter(pk__in=machine_ids):
        stop_machine(by=None, machine=machine, reason=Reason.POINTS_EXHAUSTED)


def end_due() -> None:
    """Stop the machines whose time is used up."""
    running = Machine.objects.filter(status=Status.RUNNING)
    for machine in list(running.filter(lease__used_s__gte=F("lease__granted_s"))):
        stop_machine(by=None, machine=machine, reason=Reason.TIME_UP)


def _lock(by: User | None, machine: Machine, *, for_operators: bool = False) -> Machine:
    locked = Machine.objects.select_for_update(of=("self",))
    found = locked.select_related("owner", "flavor", "image", "lease").get(pk=machine.pk)
    if found.status in {Status.DELETING, Status.DELETED}:
        raise NotFound
    if by is not None and not (for_operators and by.has_role(Role.OPERATOR)):
        _check_owner(by, found)
    return found


def _check_owner(by: User, machine: Machine) -> None:
    if machine.owner_id != by.pk:
        raise NotFound


def _expect(machine: Machine, status: Status) -> None:
    if machine.status != status:
        raise _wrong_state(machine)


def _wrong_state(machine: Machine) -> Conflict:
    mends = {
        Status.QUEUED: "it waits for a node",
        Status.STARTING: "it is starting",
        Status.RUNNING: "it runs: stop it first",
        Status.STOPPING: "it is stopping: wait a moment",
        Status.STOPPED: "it is stopped: start it first",
    }
    mend = mends[Status(machine.status)]
    return Conflict(
        f"This cannot be done with {machine.name} now: {mend}.",
        code="wrong_machine_state",
        status=machine.status,
    )


def _expect_unsaved(machine: Machine) -> None:
    if machine.savings.filter(ended_at=None).exists():
        raise saving_already(machine)


def _renew(machine: Machine) -> None:
    machine.life += 1
    machine.node, machine.device_indexes = None, []
    machine.reason, machine.message = Reason.NONE, ""
    machine.save()
    wake_user(machine.owner_id, "machines")
