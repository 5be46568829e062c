"""The shapes every studio starts with. An administrator may change or add to them."""

from typing import Any

from django.db import migrations

_GIB = 2**30
_FLAVORS: list[dict[str, Any]] = [
    {
        "name": "cpu-1",
        "title": "1 CPU core, 4 GiB",
        "cores": 1,
        "memory_bytes": 4 * _GIB,
        "price_mpoints_per_hour": 30_000,
    },
    {
        "name": "cpu-2",
        "title": "2 CPU cores, 8 GiB",
        "cores": 2,
        "memory_bytes": 8 * _GIB,
        "price_mpoints_per_hour": 60_000,
    },
    {
        "name": "gpu-1",
        "title": "1 GPU, 4 CPU cores, 16 GiB",
        "cores": 4,
        "memory_bytes": 16 * _GIB,
        "num_devices": 1,
        "price_mpoints_per_hour": 240_000,
    },
    {
        "name": "serve",
        "title": "Chat server",
        "cores": 2,
        "memory_bytes": 3 * _GIB,
        "price_mpoints_per_hour": 0,
        "is_listed": False,
        "is_exclusive": False,
    },
]


def add_flavors(apps: Any, schema_editor: Any) -> None:
    """Add what is missing; leave what is there."""
    flavor_model = apps.get_model("compute", "Flavor")
    for flavor in _FLAVORS:
        flavor_model.objects.get_or_create(name=flavor["name"], defaults=flavor)


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("compute", "0001_initial")]
    operations = [migrations.RunPython(add_flavors, migrations.RunPython.noop)]
