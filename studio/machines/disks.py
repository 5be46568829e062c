"""How much machines may write beside their homes: what their flavor says, or else the studio."""

from typing import Any

from django.conf import settings
from django.db.models import Count

from studio.compute import selectors
from studio.compute.models import Flavor
from studio.machines.models import Machine, Status

Sizes = tuple[int | None, int | None]
"""A flavor's `disk_gib` and `scratch_gib`."""
_GIB = 2**30


def get_disk_limits(sizes: Sizes = (None, None)) -> dict[str, int | None]:
    """Return `disk_bytes` and `scratch_bytes`; None where there is no limit."""
    usual = (settings.MACHINE_DISK_GIB, settings.MACHINE_SCRATCH_GIB)
    disk, scratch = (
        of_studio if own is None else own for own, of_studio in zip(sizes, usual, strict=True)
    )
    return {"disk_bytes": disk * _GIB or None, "scratch_bytes": scratch * _GIB or None}


def get_sizes(flavor: Flavor) -> Sizes:
    """Return what a flavor says of its own."""
    return flavor.disk_gib, flavor.scratch_gib


def find_usual_sizes() -> Sizes:
    """Return what most of the machines that are there have: spares are made with it."""
    there = Machine.objects.exclude(status=Status.DELETED)
    sizes = there.values_list("flavor__disk_gib", "flavor__scratch_gib")
    most = sizes.annotate(number=Count("pk")).order_by("-number").first()
    return most[:2] if most else (None, None)


def describe_flavors() -> list[dict[str, Any]]:
    """Return the flavors for machines with what the online nodes make of them, and their disks."""
    sizes = {each.name: get_sizes(each) for each in selectors.list_flavors(with_shares=True)}
    described = selectors.describe_flavors(with_shares=True)
    return [each | get_disk_limits(sizes.get(each["name"], (None, None))) for each in described]
