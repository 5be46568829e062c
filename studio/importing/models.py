"""Imports that people began: where from, where to, how far they are, what came of them."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from studio.hub.models import Kind, Visibility


class ImportState(models.TextChoices):
    """How an import stands."""

    WAITING = "waiting"
    FETCHING = "fetching"
    STORING = "storing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUNNING = (ImportState.FETCHING, ImportState.STORING)
LIVING = (ImportState.WAITING, *RUNNING)


class Import(models.Model):
    """One repo on its way in. What it has fetched lies in a folder of its id until it ends."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="imports"
    )
    source = models.TextField()
    """As it was written; never with a password or a token in it."""
    sealed_token = models.TextField(blank=True)
    """The source's token, sealed with the studio's key; emptied when the import ends."""
    kind = models.CharField(max_length=8, choices=Kind.choices)
    namespace = models.CharField(max_length=64)
    name = models.CharField(max_length=96)
    visibility = models.CharField(
        max_length=8, choices=Visibility.choices, default=Visibility.PRIVATE
    )
    """Of the repo where it is new; a repo that is there keeps its own."""
    revision = models.CharField(max_length=200, blank=True)
    state = models.CharField(
        max_length=12, choices=ImportState.choices, default=ImportState.WAITING
    )
    bytes_done = models.BigIntegerField(default=0)
    """Of this state: fetching and storing each begin at 0."""
    bytes_total = models.BigIntegerField(default=0)
    files_done = models.PositiveIntegerField(default=0)
    files_total = models.PositiveIntegerField(default=0)
    current_file = models.TextField(blank=True)
    is_cancel_wished = models.BooleanField(default=False)
    problem = models.JSONField(null=True, blank=True)
    """Why it failed: `{code, message, params}`."""
    commit_sha = models.CharField(max_length=40, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    """Grows with each run: a runner that was given up hears so by it."""
    num_deaths = models.PositiveSmallIntegerField(default=0)
    """How often its worker died under it."""
    slot = models.PositiveSmallIntegerField(null=True, blank=True)
    """Which of the few places it runs in."""
    created_at = models.DateTimeField(auto_now_add=True)
    beat_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["owner", "-created_at"])]
        constraints = [
            models.UniqueConstraint(fields=["slot"], name="import_slot_once"),
            models.UniqueConstraint(
                "kind",
                Lower("namespace"),
                Lower("name"),
                condition=Q(state__in=LIVING),
                name="import_one_living_per_repo",
            ),
        ]

    @property
    def repo_id(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def is_living(self) -> bool:
        return self.state in LIVING
