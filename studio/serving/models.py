"""Deployments, how a model is served and which revision answers, API keys, and what was asked."""

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
    is_retiring = models.BooleanField(default=False)
    """Another revision answers for its model now: it ends when nobody uses it any more."""

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


class Rollout(models.Model):
    """Which revision answers for a model when a request names none, and which is on its way."""

    model = models.CharField(max_length=200, unique=True)
    """Repo id of the base model."""
    served = models.CharField(max_length=40)
    """Commit that answers."""
    candidate = models.CharField(max_length=40, blank=True)
    """Commit that is started and tried beside it."""
    previous = models.CharField(max_length=40, blank=True)
    """Commit that answered before: where a rollback goes."""
    refused = models.CharField(max_length=40, blank=True)
    """Commit that did not pass; it is not tried again by itself."""
    is_held = models.BooleanField(default=False)
    """An operator keeps `served` whatever is pushed."""
    message = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        """Return the model and what answers."""
        return f"{self.model}@{self.served[:12]}"


class ServingSettings(models.Model):
    """How a base model is served, where not as all are: any revision of it, from its next start."""

    repo = models.OneToOneField(
        "hub.Repo", on_delete=models.CASCADE, related_name="serving_settings"
    )
    flavor = models.ForeignKey(
        "compute.Flavor", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    """None is the one that all servers have."""
    spec = models.JSONField(default=dict, blank=True)
    """Fields of a `ServeSpec` that are not as by default."""
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        """Return the model."""
        return self.repo.repo_id


class ApiKey(models.Model):
    """A key for one application: it may chat and nothing else, with some models, up to a budget."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=14)
    key_hash = models.CharField(max_length=64, unique=True)
    allowed_models = models.JSONField(default=list, blank=True)
    """Repo ids that it may ask; empty is all that its person may."""
    budget_mpoints = models.BigIntegerField(null=True, blank=True)
    """Most that it may ever spend; None is what its person has."""
    spent_upoints = models.BigIntegerField(default=0)
    """Thousandths of a milli-point."""
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class UseState(models.TextChoices):
    """How a request ended."""

    COMPLETE = "complete"
    LEFT = "left"
    FAILED = "failed"


class Use(models.Model):
    """One request that a model server worked on. Rows are only ever added."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="model_uses"
    )
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.SET_NULL, null=True, blank=True, related_name="uses"
    )
    deployment = models.ForeignKey(
        Deployment, on_delete=models.SET_NULL, null=True, blank=True, related_name="uses"
    )
    model = models.CharField(max_length=300)
    """As it was asked for, without a revision."""
    state = models.CharField(max_length=8, choices=UseState.choices, default=UseState.COMPLETE)
    num_prompt_tokens = models.PositiveIntegerField(default=0)
    num_cached_tokens = models.PositiveIntegerField(default=0)
    num_tokens = models.PositiveIntegerField(default=0)
    queue_ms = models.PositiveIntegerField(default=0)
    prefill_ms = models.PositiveIntegerField(default=0)
    """Of the server's time, this request's share; so is `decode_ms`."""
    decode_ms = models.PositiveIntegerField(default=0)
    cost_upoints = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    request_key = models.UUIDField(null=True, unique=True, editable=False)
    """Which request it was of; None of those from before they had one."""

    class Meta:
        """Read by person and by key, newest first."""

        indexes = [
            models.Index(fields=["user", "-created_at"], name="use_by_user"),
            models.Index(fields=["deployment", "-id"], name="use_by_deployment"),
        ]

    def __str__(self) -> str:
        """Return who asked what."""
        return f"{self.user_id} {self.model}"


class UsePeriod(models.Model):
    """A person's use of models in one month, as the ledger charges it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="use_periods"
    )
    month = models.DateField()
    """Its first day, UTC."""
    total_upoints = models.BigIntegerField(default=0)
    charged_mpoints = models.BigIntegerField(default=0)
    """Settled with the ledger, whether it could be paid or not."""

    class Meta:
        """One of a person and a month."""

        constraints = [
            models.UniqueConstraint(fields=["user", "month"], name="use_period_once"),
        ]

    def __str__(self) -> str:
        """Return whose it is and of when."""
        return f"{self.user_id} {self.month:%Y-%m}"
