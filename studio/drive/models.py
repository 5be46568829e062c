"""What the drive keeps beside the files: quotas, uploads under way, the trash, shares, works.

The files themselves are the truth; no row is needed to read one.
"""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q

UPLOADS_LAST = timedelta(days=7)


class DriveQuota(models.Model):
    """A person's own quota where an operator set one, and what was last measured."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drive_quota"
    )
    quota_bytes = models.BigIntegerField(null=True, blank=True)
    """None is the studio's default."""
    used_bytes = models.BigIntegerField(default=0)
    measured_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(quota_bytes=None) | Q(quota_bytes__gte=0),
                name="drive_quota_not_below_0",
            )
        ]


class Upload(models.Model):
    """A file on its way in by tus. How far it is says the draft on disk, not this row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drive_uploads"
    )
    path = models.TextField()
    """Where it is to lie, as the API shows paths; once placed, where it lies."""
    size_bytes = models.BigIntegerField()
    metadata = models.TextField(blank=True)
    is_replacing = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    placed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["expires_at"])]


class TrashEntry(models.Model):
    """A thing in the trash, where it lies under this row's id."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drive_trash"
    )
    path = models.TextField()
    is_folder = models.BooleanField()
    size_bytes = models.BigIntegerField(default=0)
    trashed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["user", "-trashed_at"])]


class Share(models.Model):
    """A link that lets whoever has it fetch a file or a folder until it ends."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drive_shares"
    )
    path = models.TextField()
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    num_fetched = models.PositiveIntegerField(default=0)


class WorkKind(models.TextChoices):
    """What takes too long for one answer."""

    ZIP = "zip"
    UNZIP = "unzip"
    COPY = "copy"


class WorkState(models.TextChoices):
    """How a work stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Work(models.Model):
    """A zip, unzip or copy: built aside, and put in its place whole."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drive_works"
    )
    kind = models.CharField(max_length=8, choices=WorkKind.choices)
    state = models.CharField(max_length=12, choices=WorkState.choices, default=WorkState.WAITING)
    paths = models.JSONField(default=list)
    target = models.TextField(blank=True)
    """The folder that the result goes into."""
    name = models.TextField(blank=True)
    """What the result is to be called; a copy's keep their names."""
    result_path = models.TextField(blank=True)
    done_bytes = models.BigIntegerField(default=0)
    total_bytes = models.BigIntegerField(default=0)
    is_cancel_wished = models.BooleanField(default=False)
    problem = models.JSONField(default=dict)
    slot = models.PositiveSmallIntegerField(null=True, blank=True)
    """Which of the few places it runs in: the control worker has other things to do as well."""
    created_at = models.DateTimeField(auto_now_add=True)
    beat_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["user", "-created_at"])]
        constraints = [models.UniqueConstraint(fields=["slot"], name="drive_work_slot_once")]
