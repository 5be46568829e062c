"""Jobs, their runs, and what the runs said. Statuses are moved by `studio.jobs.moves` alone."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from engine.status import FINAL, Status
from studio.compute.models import Flavor, Node

_STATUSES = [(status.value, status.value) for status in Status]
_FINAL = sorted(status.value for status in FINAL)
LIVE = sorted(status.value for status in set(Status) - FINAL)


class Job(models.Model):
    """What a user launched: a spec on a flavor. Each attempt at it is a run."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs"
    )
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20)
    spec = models.JSONField()
    """As the user wrote it, validated."""
    resolved = models.JSONField(default=dict, blank=True)
    """The spec's repo refs pinned to commits: `{"model": "ns/name@<sha>", ...}`."""
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="jobs")
    image_reference = models.CharField(max_length=255, blank=True)
    """What a script runs in, as it was when it was launched; blank for any other kind."""
    is_platform = models.BooleanField(default=False)
    """The studio's own, such as a deployment's server; nobody pays for it."""
    key = models.CharField(max_length=200, null=True, blank=True)
    """The caller's Idempotency-Key."""
    body_hash = models.CharField(max_length=64, blank=True)
    """SHA-256 of what was asked under that key."""
    output_repo = models.CharField(max_length=200, blank=True)
    """Repo that its runs may write."""
    output_revision = models.CharField(max_length=64, blank=True)
    """The last revision a run pushed there; blank until one has."""
    created_at = models.DateTimeField(auto_now_add=True)
    current_run = models.ForeignKey(
        "Run", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        """A key names one job of its owner."""

        constraints = [
            models.UniqueConstraint(
                fields=["owner", "key"], condition=Q(key__isnull=False), name="job_key_once"
            )
        ]
        indexes = [models.Index(fields=["owner", "-created_at"], name="job_owner_newest")]

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Run(models.Model):
    """One attempt at a job. `node_*_time` are Unix seconds on the clock of the node."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="runs")
    index = models.PositiveIntegerField()
    status = models.CharField(max_length=12, choices=_STATUSES, default=Status.QUEUED.value)
    reason = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    status_since = models.DateTimeField()
    created_at = models.DateTimeField()
    rate_mpoints_per_hour = models.PositiveBigIntegerField()

    node = models.ForeignKey(
        Node, on_delete=models.PROTECT, null=True, blank=True, related_name="runs"
    )
    device_indexes = models.JSONField(default=list, blank=True)
    placement_number = models.PositiveIntegerField(default=0)
    """How often it was given to a node; a token of an earlier placement starts nothing."""
    placed_at = models.DateTimeField(null=True, blank=True)
    order_sent_at = models.DateTimeField(null=True, blank=True)
    num_orders = models.PositiveIntegerField(default=0)
    """How often its order was sent, to whichever node."""
    claimed_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    last_heartbeat_at = models.DateTimeField(null=True, blank=True)
    node_started_time = models.FloatField(null=True, blank=True)
    node_seen_time = models.FloatField(null=True, blank=True)

    next_seq = models.PositiveBigIntegerField(default=0)
    log_bytes = models.PositiveBigIntegerField(default=0)
    log_newlines = models.PositiveBigIntegerField(default=0)
    log_ends_line = models.BooleanField(default=True)
    """The last stored byte is a newline, or there is none yet."""
    log_sha256 = models.CharField(max_length=64, blank=True)
    """What the engine says its log hashes to."""
    log_complete = models.BooleanField(null=True, blank=True)
    """The stored bytes are the engine's; None until the run has ended."""
    is_closed = models.BooleanField(default=False)
    """The engine's own last event is stored; it has nothing more to say."""
    exit_code = models.IntegerField(null=True, blank=True)

    stop_reason = models.CharField(max_length=40, blank=True)
    stop_message = models.TextField(blank=True)
    stop_wanted_at = models.DateTimeField(null=True, blank=True)
    resume_run = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="resumed_by"
    )
    progress = models.JSONField(null=True, blank=True)
    latest_metrics = models.JSONField(default=dict, blank=True)
    artifacts = models.JSONField(default=list, blank=True)

    class Meta:
        """What no code may break."""

        constraints = [
            models.UniqueConstraint(fields=["job", "index"], name="run_index_once"),
            models.UniqueConstraint(
                fields=["job"], condition=~Q(status__in=_FINAL), name="run_one_live_per_job"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[status.value for status in Status]), name="run_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=_FINAL) | (Q(ended_at__isnull=False) & ~Q(reason="")),
                name="run_end_has_reason",
            ),
            models.CheckConstraint(
                condition=Q(node_seen_time__isnull=True)
                | Q(node_started_time__isnull=True)
                | Q(node_seen_time__gte=F("node_started_time")),
                name="run_seen_after_start",
            ),
        ]
        indexes = [
            models.Index(
                fields=["status", "created_at"], condition=~Q(status__in=_FINAL), name="run_live"
            )
        ]

    def __str__(self) -> str:
        """Return which run of which job."""
        return f"{self.job_id} run {self.index}"

    @property
    def is_final(self) -> bool:
        """Say whether it can move no more."""
        return Status(self.status) in FINAL

    @property
    def log_lines(self) -> int:
        """Count the lines, an unfinished last one included."""
        return self.log_newlines + (0 if self.log_ends_line else 1)


class RunEvent(models.Model):
    """One thing a run said. A log piece keeps its bytes in `data`; any other event is in `body`."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    type = models.CharField(max_length=12)
    time = models.FloatField()
    body = models.JSONField(null=True, blank=True)
    data = models.BinaryField(null=True, blank=True)
    byte_offset = models.PositiveBigIntegerField(null=True, blank=True)
    """Where the piece begins in the run's log."""
    first_line = models.PositiveBigIntegerField(null=True, blank=True)
    """Number, from 0, of the line that the piece's first byte is in."""

    class Meta:
        """Numbered per run; logs are also found by line, the rest by type."""

        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="event_seq_once")]
        indexes = [
            models.Index(
                fields=["run", "first_line"], condition=Q(type="log"), name="event_log_line"
            ),
            models.Index(
                fields=["run", "type", "seq"], condition=~Q(type="log"), name="event_by_type"
            ),
        ]

    def __str__(self) -> str:
        """Return which event of which run."""
        return f"{self.run_id} #{self.seq} {self.type}"
