"""Statistics of data files, made once per content."""

from django.db import models


class BlobStatistics(models.Model):
    """What the columns of a file hold, told from its first rows."""

    blob = models.OneToOneField(
        "hub.Blob", on_delete=models.CASCADE, primary_key=True, related_name="statistics"
    )
    version = models.PositiveIntegerField()
    """Of the counting: older statistics are made anew."""
    body = models.JSONField()

    def __str__(self) -> str:
        return str(self.blob_id)
