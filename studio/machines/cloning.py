"""A new machine like one that is there: its image, its flavor, and what its container has become.

The container is saved first, as an image that is offered to nobody and goes with the clone; the
clone stands in the queue meanwhile, its points held. A machine without a container, such as one
that was reset, has nothing to copy: its clone begins from the same image.
"""

from django.db import transaction

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import NotFound
from studio.machines.models import GOES, Machine
from studio.machines.saving import (
    begin_saving,
    check_image_will_be,
    has_container,
    make_copy_name,
    saving_already,
)
from studio.machines.services import create_machine
from studio.machines.wishes import USUAL_S, Wish, check_name, name_taken


@transaction.atomic
def clone_machine(*, by: User, machine: Machine, name: str, duration_s: int = USUAL_S) -> Machine:
    """Make a machine like another of the caller's, and return it.

    Raises:
        NotFound: it is not the caller's.
        BadInput: a field holds what it may not.
        Conflict: the name is taken, there are too many, or the machine is on its way somewhere.
        PointsExhausted: the time costs more than is available.
    """
    locked = Machine.objects.select_for_update(of=("self",))
    source = locked.select_related("owner", "image", "node", "flavor").get(pk=machine.pk)
    if source.owner_id != by.pk:
        raise NotFound
    check_name(name)
    mine = Machine.objects.filter(owner=by, name=name)
    if mine.exclude(status__in=["deleting", "deleted"]).exists():
        raise name_taken(name)  # before anything is saved for it
    if source.savings.filter(ended_at=None).exists():
        raise saving_already(source)
    image = source.image
    if has_container(source) or source.status in GOES:
        image = begin_saving(source, name=make_copy_name(), is_kept=False)
    check_image_will_be(image)
    wish = Wish(name, image.name, source.flavor.name, duration_s)
    made = create_machine(owner=by, wish=wish, image=image)
    audit.record("machine.cloned", actor=by, subject=made.key, source=source.key)
    return made
