"""Deployments: a base model that is served, with whichever adapters were asked for."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class DeploymentStatus(models.TextChoices):
    """Where a deployment is. The last two are final: the next request makes a new one."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


OPEN = [DeploymentStatus.STARTING.value, DeploymentStatus.READY.value]


class Deployment(models.Model):
    """One life of the server of one base model commit."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.CharField(max_length=200)
    """Repo id of the base model."""
    revision = models.CharField(max_length=40)
    job = models.ForeignKey(
        "jobs.Job", on_delete=models.SET_NULL, null=True, blank=True, related_name="deployments"
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """Whose request started it."""
    status = models.CharField(
        max_length=10, choices=DeploymentStatus.choices, default=DeploymentStatus.STARTING
    )
    message = models.TextField(blank=True)
    url = models.CharField(max_length=300, blank=True)
    """Where its server listens on the nodes' network; blank until it is up."""
    served_name = models.CharField(max_length=300, blank=True)
    """What the server calls its base model."""
    adapters = models.JSONField(default=list, blank=True)
    """`namespace/name@sha` of each adapter that the server has loaded."""
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """However many people ask at once, one server starts."""

        constraints = [
            models.UniqueConstraint(
                fields=["model", "revision"], condition=Q(status__in=OPEN), name="deployment_once"
            )
        ]
        indexes = [models.Index(fields=["-created_at"], name="deployment_newest")]

    def __str__(self) -> str:
        return f"{self.model}@{self.revision[:12]}"
