from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("compute", "0006_joining_and_upkeep")]

    operations = [
        migrations.AddField(
            "flavor", "disk_gib", models.PositiveIntegerField(blank=True, null=True)
        ),
        migrations.AddField(
            "flavor", "scratch_gib", models.PositiveIntegerField(blank=True, null=True)
        ),
        migrations.AddConstraint(
            "flavor",
            models.CheckConstraint(
                condition=models.Q(disk_gib__isnull=True) | models.Q(disk_gib__lte=100_000),
                name="flavor_disk_in_range",
            ),
        ),
        migrations.AddConstraint(
            "flavor",
            models.CheckConstraint(
                condition=models.Q(scratch_gib__isnull=True) | models.Q(scratch_gib__lte=16_000),
                name="flavor_scratch_in_range",
            ),
        ),
    ]
