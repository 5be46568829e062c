import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("machines", "0001_begin")]

    operations = [
        migrations.CreateModel(
            name="StudioPort",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("port", models.PositiveIntegerField()),
                ("turn", models.PositiveIntegerField(default=1)),
                ("used_at", models.DateTimeField()),
                (
                    "machine",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="studio_ports",
                        to="machines.machine",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("machine", "port"), name="studio_port_once")
                ]
            },
        )
    ]
