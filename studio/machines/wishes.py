"""What a machine may be: name, image, flavor, time, each checked and refused by its field."""

import re
from dataclasses import dataclass

from django.db.models import F, Q, QuerySet

from studio.accounts.models import User
from studio.compute.models import Flavor, Node
from studio.compute.selectors import get_flavor, get_why_not
from studio.core.errors import BadInput, Conflict
from studio.machines.models import Image
from studio.machines.placing import list_able_nodes

LEAST_S, MOST_S, USUAL_S = 600, 7 * 24 * 3600, 4 * 3600
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,37}[a-z0-9])?")


@dataclass(frozen=True)
class Wish:
    """What a machine shall be."""

    name: str
    image: str
    flavor: str
    duration_s: int = USUAL_S


def check_name(name: str) -> str:
    """Return the name; refuse what ssh and host names could not say."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            "name: write 1 to 39 small letters, digits and hyphens, a letter first and no hyphen "
            "last.",
            field="name",
            code="bad_machine_name",
        )
    return name


def name_taken(name: str) -> Conflict:
    """Return the refusal of a name that another machine of the same owner has."""
    return Conflict(
        f"name: you have a machine called {name}: pick another name.",
        field="name",
        code="machine_name_taken",
        name=name,
    )


def check_duration(duration_s: int) -> int:
    """Return the seconds; refuse too few and too many."""
    if not LEAST_S <= duration_s <= MOST_S:
        raise BadInput(
            f"duration_s: from {LEAST_S} to {MOST_S} seconds.",
            field="duration_s",
            code="bad_duration",
            least_s=LEAST_S,
            most_s=MOST_S,
        )
    return duration_s


def list_images(owner: User) -> QuerySet[Image]:
    """Return the images that a person may pick: everybody's, and those they have saved."""
    offered = Image.objects.filter(is_active=True).filter(Q(owner=None) | Q(owner=owner))
    return offered.prefetch_related("flavors").order_by("owner_id", "created_at")


def get_image(owner: User, name: str) -> Image:
    """Return one of the images that a person may pick; of two of a name their own.

    Raises:
        BadInput: there is none.
    """
    images = list_images(owner)
    image = images.filter(name=name).order_by(F("owner_id").desc(nulls_last=True)).first()
    if image is None:
        names = ", ".join(images.order_by("name").values_list("name", flat=True))
        offer = f"pick one of {names}" if names else "an operator registers images"
        raise BadInput(
            f"image: there is no image {name!r}: {offer}.",
            field="image",
            code="unknown_image",
            name=name,
        )
    return image


def get_flavor_for(image: Image, name: str) -> Flavor:
    """Return a flavor for a machine of this image.

    Raises:
        BadInput: there is none of that name, the image does not run on it, or no node holds it.
    """
    flavor = get_flavor(name, with_shares=True)
    if image.flavors.exists() and not image.flavors.filter(pk=flavor.pk).exists():
        raise BadInput(
            f"flavor: the image {image.name} does not run on {flavor.name}: pick another.",
            field="flavor",
            code="flavor_not_for_image",
            name=flavor.name,
        )
    check_flavor_can_be(flavor, image)
    return flavor


def check_flavor_can_be(flavor: Flavor, image: Image) -> None:
    """Refuse what no node that is there could ever hold; with none there, a machine waits."""
    able = Node.objects.filter(pk__in=list_able_nodes())
    nodes = list(able.filter(pk=image.node_id) if image.node_id else able)
    if nodes and get_why_not(flavor, nodes):
        raise BadInput(
            f"flavor: no node has room for {flavor.title} even when empty: pick a smaller one.",
            field="flavor",
            code="no_node_fits",
            name=flavor.name,
        )
