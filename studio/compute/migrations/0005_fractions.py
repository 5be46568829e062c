"""Shares of a GPU, for dev machines. An administrator may change or add to them."""

from typing import Any

from django.db import migrations

_GIB = 2**30
_SHARES = {10: (1, 8, 30_000), 30: (2, 16, 80_000), 50: (2, 24, 130_000)}


def add_flavors(apps: Any, schema_editor: Any) -> None:
    """Add what is missing; leave what is there."""
    flavor_model = apps.get_model("compute", "Flavor")
    for percent, (cores, gib, price) in _SHARES.items():
        shape = {
            "title": f"{percent} % of a GPU, {cores} CPU {'core' if cores == 1 else 'cores'}, {gib} GiB",
            "cores": cores,
            "memory_bytes": gib * _GIB,
            "num_devices": 1,
            "device_percent": percent,
            "price_mpoints_per_hour": price,
        }
        flavor_model.objects.get_or_create(name=f"gpu-{percent}p", defaults=shape)


class Migration(migrations.Migration):
    """Data only."""

    dependencies = [("compute", "0004_machine_shapes")]
    operations = [migrations.RunPython(add_flavors, migrations.RunPython.noop)]
