"""The operator's say over images: which there are, and on which flavors they run."""

import re
from typing import Any

from django.db import transaction
from django.db.models import Count, Q

from studio.accounts.models import Role, User
from studio.compute.models import Flavor
from studio.core import audit
from studio.core.errors import BadInput, Forbidden
from studio.machines.models import Image, NodeEngine, Status

_PINNED = re.compile(
    r"(?:[a-z0-9][A-Za-z0-9._:/-]*@)?sha256:[0-9a-f]{64}"
)  # a tag may be another image tomorrow
MOST_IDLE_S = 7 * 24 * 3600
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_MOST_TITLE, _MOST_REFERENCE = 80, 255
_SSH = 22


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
    _check_words(name, reference, title)
    _check_tools(tools or {})
    if idle_s is not None and not 0 <= idle_s <= MOST_IDLE_S:
        raise BadInput(
            f"idle_s: from 0, which is never, to {MOST_IDLE_S}.",
            field="idle_s",
            code="bad_idle",
            most_s=MOST_IDLE_S,
        )
    chosen = _find_flavors(flavors or [])
    image, _ = Image.objects.update_or_create(
        name=name,
        owner=None,
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
    if not Image.objects.filter(name=name, owner=None).update(is_active=False):
        raise BadInput(
            f"name: there is no image {name!r}.", field="name", code="image_not_found", image=name
        )
    audit.record("image.retired", actor=by, subject=name)


def get_idle_s(name: str) -> int | None:
    """Return the idle rule of an image that is offered already; None where it has none."""
    return Image.objects.filter(name=name, owner=None).values_list("idle_s", flat=True).first()


def list_registered() -> list[dict[str, Any]]:
    """Return every image, retired ones too, by name, with what uses it and which nodes have it."""
    uses = Count("machines", filter=~Q(machines__status=Status.DELETED))
    images = Image.objects.filter(owner=None).annotate(num_machines=uses)
    images = images.prefetch_related("flavors").order_by("name")
    engines = NodeEngine.objects.exclude(version="").select_related("node").order_by("node__name")
    return [_describe(image, list(engines)) for image in images]


def _describe(image: Any, engines: list[NodeEngine]) -> dict[str, Any]:
    return {
        "name": image.name,
        "title": image.title,
        "reference": image.reference,
        "tools": image.ordered_tools,
        "flavors": [flavor.name for flavor in image.flavors.all()],
        "is_active": image.is_active,
        "idle_s": image.idle_s,
        "created_at": image.created_at,
        "num_machines": image.num_machines,
        "nodes": [
            {
                "name": engine.node.name,
                "has_it": None if engine.images is None else image.reference in engine.images,
            }
            for engine in engines
        ],
    }


def _check_words(name: str, reference: str, title: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            "name: write small letters, digits and hyphens, 40 at most.",
            field="name",
            code="bad_image_name",
        )
    if not _PINNED.fullmatch(reference) or len(reference) > _MOST_REFERENCE:
        raise BadInput(
            "reference: name the image by what cannot change, name@sha256:... or sha256:...; "
            "`docker image inspect --format '{{.Id}}' NAME` prints it.",
            field="reference",
            code="bad_image_reference",
        )
    if len(title) > _MOST_TITLE:
        raise BadInput(
            f"title: write {_MOST_TITLE} letters at most.", field="title", code="too_long_text"
        )


def _check_tools(tools: dict[str, int]) -> None:
    for tool, port in tools.items():
        if not _NAME.fullmatch(tool) or not 1 <= port <= 65535 or port == _SSH:
            raise BadInput(
                f"tools: write {tool[:40]}=PORT: small letters, and a port up to 65535 that is not "
                "SSH's 22.",
                field="tools",
                code="bad_tool",
                tool=tool[:40],
            )


def _find_flavors(names: list[str]) -> list[Flavor]:
    chosen = list(Flavor.objects.filter(name__in=names))
    if unknown := set(names) - {flavor.name for flavor in chosen}:
        raise BadInput(
            f"flavors: there is no flavor {min(unknown)!r}.",
            field="flavors",
            code="unknown_flavor",
            name=min(unknown),
        )
    return chosen
