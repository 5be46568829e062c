"""The operator's say over images: which there are, and on which flavors they run."""

import re

from django.db import transaction

from studio.accounts.models import Role, User
from studio.compute.models import Flavor
from studio.core import audit
from studio.core.errors import BadInput, Forbidden
from studio.machines.models import Image

_PINNED = re.compile(
    r"(?:[a-z0-9][A-Za-z0-9._:/-]*@)?sha256:[0-9a-f]{64}"
)  # a tag may be another image tomorrow
MOST_IDLE_S = 7 * 24 * 3600
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@transaction.atomic
def register_image(
    *,
    by: User | None,
    name: str,
    reference: str,
    title: str = "",
    tools: dict[str, int] | None = None,
    flavors: list[str] | None = None,
    idle_s: int | None = None,
) -> Image:
    """Offer an image, or say anew what one is. `by` None is the platform's own shell.

    Its machines stop after `idle_s` seconds of idleness: 0 is never, None what the studio has set.

    Machines that are there keep what they run on until they are reset.

    Raises:
        Forbidden: the caller is no operator.
        BadInput: a field holds what it may not.
    """
    if by is not None and not by.has_role(Role.OPERATOR):
        raise Forbidden("Only operators register images.")
    if not _NAME.fullmatch(name):
        raise BadInput("name: write small letters, digits and hyphens.", field="name")
    if not _PINNED.fullmatch(reference):
        raise BadInput(
            "reference: name the image by what cannot change, name@sha256:... or sha256:...; "
            "`docker image inspect --format '{{.Id}}' NAME` prints it.",
            field="reference",
        )
    for tool, port in (tools or {}).items():
        if not _NAME.fullmatch(tool) or not 1 <= port <= 65535:
            raise BadInput(f"tools: write {tool[:40]}=PORT with a port up to 65535.", field="tools")
    if idle_s is not None and not 0 <= idle_s <= MOST_IDLE_S:
        raise BadInput(f"idle_s: from 0, which is never, to {MOST_IDLE_S}.", field="idle_s")
    chosen = list(Flavor.objects.filter(name__in=flavors or []))
    if unknown := set(flavors or []) - {flavor.name for flavor in chosen}:
        raise BadInput(f"flavors: there is no flavor {min(unknown)!r}.", field="flavors")
    image, _ = Image.objects.update_or_create(
        name=name,
        defaults={
            "reference": reference,
            "title": title or name,
            "tools": tools or {},
            "idle_s": idle_s,
            "is_active": True,
        },
    )
    image.flavors.set(chosen)
    audit.record("image.registered", actor=by, subject=name, reference=reference)
    return image


def retire_image(*, by: User | None, name: str) -> None:
    """Offer an image no longer; machines that have it go on.

    Raises:
        Forbidden: the caller is no operator.
        BadInput: there is none of that name.
    """
    if by is not None and not by.has_role(Role.OPERATOR):
        raise Forbidden("Only operators retire images.")
    if not Image.objects.filter(name=name).update(is_active=False):
        raise BadInput(f"name: there is no image {name!r}.", field="name")
    audit.record("image.retired", actor=by, subject=name)
