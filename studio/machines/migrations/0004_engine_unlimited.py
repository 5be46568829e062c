"""What of its disk a node cannot limit."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("machines", "0001_begin")]

    operations = [
        migrations.AddField(
            model_name="nodeengine",
            name="unlimited",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
