"""Saved images: a machine's container made an image, for its owner alone, on the node that has it.

The order to save stands in the machine's own until its node says what came of it, so nothing is
lost with a node or a studio, and the node knows by the key what is done already.
"""

import re
from datetime import timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from studio.accounts.models import User
from studio.compute.models import Node
from studio.core import audit
from studio.core.errors import BadInput, Conflict, NotFound
from studio.core.sentences import say
from studio.jobs.wakes import wake_user
from studio.machines.models import Image, Machine, Reason, Saving, Status, make_key
from studio.machines.moves import Move, move_machine
from workers.machines.orders import SavedState

log = structlog.get_logger(__name__)

MOST_SAVED = 5
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,37}[a-z0-9])?")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_COPY = "copy_"  # no name that people may pick has a _
_WITHIN = timedelta(hours=1)


@transaction.atomic
def save_machine(*, by: User, machine: Machine, name: str) -> Machine:
    """Have a machine's container saved as an image of its owner's. Asked twice, it is done once.

    Raises:
        NotFound: it is not the caller's.
        BadInput: the name is none.
        Conflict: the name is taken, there are too many, or there is no container to save.
    """
    machine = _lock(by, machine)
    going = machine.savings.filter(ended_at=None).select_related("image").first()
    if going is not None and going.image.is_kept and going.image.name == name:
        return machine
    if not _NAME.fullmatch(name):
        raise BadInput(
            "name: write 1 to 39 small letters, digits and hyphens, no hyphen first or last.",
            field="name",
            code="bad_image_name",
        )
    mine = list_saved(by)
    if mine.filter(name=name).exists() or Image.objects.filter(name=name, owner=None).exists():
        raise Conflict(
            f"name: there is an image called {name}: pick another name.",
            field="name",
            code="image_name_taken",
            name=name,
        )
    if mine.count() >= MOST_SAVED:
        raise Conflict(
            f"You have {MOST_SAVED} saved images: delete one first.",
            code="too_many_saved",
            most=MOST_SAVED,
        )
    begin_saving(machine, name=name, is_kept=True)
    audit.record("machine.saved", actor=by, subject=machine.key, image=name)
    return machine


def has_container(machine: Machine) -> bool:
    """Say whether there is something to save: what its owner has put into its container."""
    return (
        machine.status in {Status.RUNNING, Status.STOPPED}
        and machine.node_id is not None
        and machine.reason != Reason.CONTAINER_GONE
    )


def begin_saving(machine: Machine, *, name: str, is_kept: bool) -> Image:
    """Order a machine's container to be saved. The caller holds the machine's row lock.

    Raises:
        Conflict: it has none, or it is being saved already.
    """
    if not has_container(machine):
        raise Conflict(
            f"{machine.name} has no container to save now: start it, and save it while it runs or "
            "after it has stopped.",
            code="no_container_to_save",
        )
    was = machine.image
    try:
        with transaction.atomic():
            image = Image.objects.create(
                name=name,
                owner=machine.owner,
                node=machine.node,
                title=name,
                tools=was.tools,
                idle_s=was.idle_s,
                is_active=False,
                is_kept=is_kept,
            )
            Saving.objects.create(machine=machine, image=image, begun_at=timezone.now())
    except IntegrityError as error:
        raise saving_already(machine) from error
    image.flavors.set(was.flavors.all())
    wake_user(machine.owner_id, "machines")
    return image


def take_saved(node: Node, states: tuple[SavedState, ...]) -> None:
    """Take what a node says has come of the orders to save."""
    for state in states:
        with transaction.atomic():
            locked = Saving.objects.select_for_update(of=("self",)).select_related("image")
            saving = locked.filter(key=state.key, ended_at=None, image__node=node).first()
            if saving is None:  # heard already, or given up
                continue
            if state.problem or not _IMAGE_ID.fullmatch(state.image):
                _fail(saving, state.problem or say("saving_silent"))
            else:
                _finish(saving, state)


def fail_saving(machine: Machine, problem: str) -> None:
    """Give up what goes on of saving a machine; what its node still makes, it removes."""
    for saving in machine.savings.filter(ended_at=None).select_related("image"):
        _fail(saving, problem)


def lose_images(node: Node) -> None:
    """Have the saved images of a node that is removed no more; what waits for one stops."""
    for saving in Saving.objects.filter(image__node=node, ended_at=None).select_related("image"):
        _fail(saving, say("saving_node_removed", node=node))
    message = say("machine_image_removed", node=node)
    locked = Machine.objects.select_for_update(of=("self",)).select_related("owner", "lease")
    for machine in locked.filter(image__node=node, status=Status.QUEUED):
        move_machine(machine, Move(Status.STOPPED, Reason.NODE_REMOVED, message))
    # Without a reference a start is refused, with what to do.
    Image.objects.filter(node=node).update(reference="", is_kept=False, is_active=False)


def fail_overdue_savings() -> None:
    """Give up what has gone on for an hour."""
    overdue = Saving.objects.filter(ended_at=None, begun_at__lt=timezone.now() - _WITHIN)
    for key in overdue.values_list("key", flat=True):
        with transaction.atomic():
            locked = Saving.objects.select_for_update(of=("self",)).select_related("image")
            if saving := locked.filter(key=key, ended_at=None).first():
                _fail(saving, say("saving_too_long"))


@transaction.atomic
def delete_saved(*, by: User, name: str) -> None:
    """Delete a saved image: it is offered no more, and goes when no machine has it any more.

    Raises:
        NotFound: the caller has none of that name.
    """
    image = Image.objects.select_for_update().filter(owner=by, is_kept=True, name=name).first()
    if image is None:
        raise NotFound
    saving = Saving.objects.select_for_update().filter(image=image, ended_at=None).first()
    if saving is not None:
        _fail(saving, say("saving_image_deleted"))
    Image.objects.filter(pk=image.pk).update(is_kept=False, is_active=False)
    audit.record("image.deleted", actor=by, subject=name)
    wake_user(by.pk, "machines")


def list_saved(owner: User) -> QuerySet[Image]:
    """Return a person's saved images, those that are being saved too, newest first."""
    mine = Image.objects.filter(owner=owner, is_kept=True)
    return mine.select_related("saving__machine", "node").order_by("-created_at")


def list_kept_keys(node: Node) -> list[str]:
    """Return the keys of the saved images that a node shall keep: the rest it removes."""
    used = Machine.objects.exclude(status=Status.DELETED).values("image_id")
    kept = Saving.objects.filter(image__node=node).filter(
        Q(ended_at=None) | Q(problem="", image__is_kept=True) | Q(problem="", image_id__in=used)
    )
    return list(kept.order_by("pk").values_list("key", flat=True))


def check_image_will_be(image: Image) -> None:
    """Refuse to start from a copy that will never be there.

    Raises:
        Conflict: its saving has failed.
    """
    if not image.reference and not Saving.objects.filter(image=image, ended_at=None).exists():
        raise Conflict(
            "The copy that this machine was to start from could not be made: delete it and clone "
            "again, or give it another image.",
            code="copy_failed",
        )


def saving_already(machine: Machine) -> Conflict:
    """Return the refusal of what must wait until a machine is saved."""
    return Conflict(
        f"{machine.name} is being saved: wait until that is done.", code="saving_already"
    )


def make_copy_name() -> str:
    """Return a name for an image that nobody picks by its name."""
    return f"{_COPY}{make_key()}"


def is_copy_name(name: str) -> bool:
    """Say whether a name is one that `make_copy_name` makes."""
    return name.startswith(_COPY)


def _finish(saving: Saving, state: SavedState) -> None:
    image = saving.image
    image.reference, image.size_bytes = state.image, state.size_bytes
    image.is_active = image.is_kept
    image.save()
    saving.ended_at = timezone.now()
    saving.save(update_fields=["ended_at"])
    log.info("machine.image_saved", image=image.pk, bytes=image.size_bytes)
    assert image.owner_id is not None
    wake_user(image.owner_id, "machines")


def _fail(saving: Saving, problem: str) -> None:
    image = saving.image
    saving.ended_at, saving.problem = timezone.now(), problem[:500]
    saving.save(update_fields=["ended_at", "problem"])
    Image.objects.filter(pk=image.pk).update(is_kept=False, is_active=False)
    for seen in Machine.objects.filter(image=image, status=Status.QUEUED):
        locked = Machine.objects.select_for_update(of=("self",)).select_related("owner", "lease")
        move_machine(
            locked.get(pk=seen.pk),
            Move(Status.STOPPED, Reason.START_FAILED, say("copy_failed", problem=problem)),
        )
    assert image.owner_id is not None
    wake_user(image.owner_id, "machines")


def _lock(by: User, machine: Machine) -> Machine:
    locked = Machine.objects.select_for_update(of=("self",))
    found = locked.select_related("owner", "image", "node").get(pk=machine.pk)
    if found.owner_id != by.pk or found.status in {Status.DELETING, Status.DELETED}:
        raise NotFound
    return found
