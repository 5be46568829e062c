"""What the hub knows of chunks: xorbs, files made of them, and chunks that clients may ask for."""

from django.db import models
from django.utils import timezone


class Xorb(models.Model):
    """A container of chunks in the storage; its index lies behind its chunks."""

    hash = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.PositiveBigIntegerField()
    """Of what is stored: the packed chunks and the index."""
    stored_at = models.DateTimeField(default=timezone.now)
    """When somebody last stored it or was told of it; a sweep spares what is recent."""

    class Meta:
        app_label = "hub"

    def __str__(self) -> str:
        return self.hash[:12]


class XetFile(models.Model):
    """A file as runs of chunks."""

    hash = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.PositiveBigIntegerField()
    xorb_hashes = models.JSONField()
    """The xorbs that its terms refer to, by their place in this list."""
    terms = models.JSONField()
    """In order: place of the xorb, first chunk, chunk after the last, bytes unpacked."""
    xorbs = models.ManyToManyField(Xorb, through="XetFileXorb", related_name="xet_files")

    class Meta:
        app_label = "hub"

    def __str__(self) -> str:
        return self.hash[:12]


class XetFileXorb(models.Model):
    """A file needs a xorb: the xorb stays."""

    file = models.ForeignKey(XetFile, on_delete=models.CASCADE, related_name="+")
    xorb = models.ForeignKey(Xorb, on_delete=models.PROTECT, related_name="uses")

    class Meta:
        app_label = "hub"
        constraints = [models.UniqueConstraint(fields=["file", "xorb"], name="xet_file_xorb_once")]


class AnnouncedChunk(models.Model):
    """A chunk by which clients find a xorb that holds what they are about to send."""

    hash = models.CharField(max_length=64, primary_key=True)
    xorb = models.ForeignKey(Xorb, on_delete=models.CASCADE, related_name="+")

    class Meta:
        app_label = "hub"

    def __str__(self) -> str:
        return self.hash[:12]
