from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("machines", "0001_begin")]

    operations = [
        migrations.AddField("lease", "charged_s", models.FloatField(default=0)),
    ]
