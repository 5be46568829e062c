"""What a look at data takes on a node: a tokenizer and its library, for seconds; nobody pays."""

from typing import Any

from django.db import migrations

_FLAVOR: dict[str, Any] = {
    "name": "inspect",
    "title": "A look at data",
    "cores": 1,
    "memory_bytes": 3 * 2**29,
    "price_mpoints_per_hour": 0,
    "is_listed": False,
    "is_exclusive": False,
}


def add_flavor(apps: Any, schema_editor: Any) -> None:
    """Add it where it is missing."""
    flavor_model = apps.get_model("compute", "Flavor")
    flavor_model.objects.get_or_create(name=_FLAVOR["name"], defaults=_FLAVOR)


class Migration(migrations.Migration):
    dependencies = [("compute", "0008_node_runtime")]
    operations = [migrations.RunPython(add_flavor, migrations.RunPython.noop)]
