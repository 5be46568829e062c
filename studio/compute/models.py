"""The machines that runs happen on, and the priced shapes that are rented out on them."""

from django.conf import settings
from django.db import models
from django.db.models import Q

MOST_DISK_GIB, MOST_SCRATCH_GIB = 100_000, 16_000
"""What a node takes in an order; the scratch file is an ext4, which ends at 16 TiB."""


class Node(models.Model):
    """A machine that dials in with its own token. What it has is what it last said.

    One that was removed keeps its row, so that what ran there still says where, and its token's
    hash, so that it can be told. A node that joins under its name takes the row over.
    """

    name = models.SlugField(max_length=63, unique=True)
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    version = models.CharField(max_length=40, blank=True)
    cores = models.PositiveIntegerField(default=0)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    disk_free_bytes = models.PositiveBigIntegerField(default=0)
    disk_bytes = models.PositiveBigIntegerField(default=0)
    """Of the disk that runs are kept on; 0 until it said so."""
    devices = models.JSONField(default=list, blank=True)
    """`[{index, name, memory_bytes, uuid}]`, one per GPU."""
    runtime = models.CharField(max_length=16, default="process")
    """How it runs engines that can be shut in: as `process`, or in a container by `docker`."""
    runtime_problem = models.CharField(max_length=500, blank=True)
    """Why it cannot run any now, in a sentence; blank where it can."""
    runtime_notice = models.CharField(max_length=500, blank=True)
    """What is not as it should be with that though it can, in a sentence."""
    run_ids = models.JSONField(default=list, blank=True)
    """Runs the node said are alive, when last seen."""
    cache_bytes = models.PositiveBigIntegerField(default=0)
    cache_limit_bytes = models.PositiveBigIntegerField(default=0)
    """How much its cache of models and datasets may hold; 0 until it said so."""
    share = models.JSONField(default=list, blank=True)
    """How far each repo of its /share is; see `workers.orders.ShareState`."""
    is_cordoned = models.BooleanField(default=False)
    """Nothing new is placed on it; what runs there goes on."""
    drain_at = models.DateTimeField(null=True, blank=True)
    """When what is there is told to stop; None where the node is not being emptied."""
    drain_reason = models.CharField(max_length=200, blank=True)
    """The administrator's words to those whose machines stop."""
    drain_stops_runs = models.BooleanField(default=False)
    """Runs of jobs stop then too; otherwise they go on to their end."""
    removed_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class JoinToken(models.Model):
    """Lets one machine become a node, once, within its time."""

    token_hash = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=63, blank=True)
    """The only name it may join under; blank is any."""
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    """None is the platform's own shell."""
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        """Return for which name it is."""
        return f"join token {self.pk} for {self.name or 'any name'}"


class Flavor(models.Model):
    """A resource shape with a price."""

    name = models.SlugField(max_length=40, unique=True)
    title = models.CharField(max_length=80)
    cores = models.PositiveIntegerField()
    memory_bytes = models.PositiveBigIntegerField()
    num_devices = models.PositiveIntegerField(default=0)
    device_percent = models.PositiveSmallIntegerField(default=100)
    """How much of each of its devices; below 100 several share one, each within its memory."""
    price_mpoints_per_hour = models.PositiveBigIntegerField()
    is_active = models.BooleanField(default=True)
    is_listed = models.BooleanField(default=True)
    """Users may pick it; what is not listed is the platform's own."""
    is_exclusive = models.BooleanField(default=True)
    """Takes its cores and devices for itself; otherwise only its memory is counted."""
    disk_gib = models.PositiveIntegerField(null=True, blank=True)
    """What a dev machine may write beside its home and /scratch; 0 is no limit, None what the
    studio has set."""
    scratch_gib = models.PositiveIntegerField(null=True, blank=True)
    """The size of a dev machine's /scratch; 0 and None as above."""

    class Meta:
        """Bounds that hold whoever writes."""

        constraints = [
            models.CheckConstraint(
                condition=Q(cores__gte=1) & Q(memory_bytes__gt=0), name="flavor_has_size"
            ),
            models.CheckConstraint(
                condition=Q(device_percent__range=(1, 100))
                & (Q(device_percent=100) | Q(num_devices=1)),
                name="flavor_share_of_one_device",
            ),
            models.CheckConstraint(
                condition=Q(disk_gib__isnull=True) | Q(disk_gib__lte=MOST_DISK_GIB),
                name="flavor_disk_in_range",
            ),
            models.CheckConstraint(
                condition=Q(scratch_gib__isnull=True) | Q(scratch_gib__lte=MOST_SCRATCH_GIB),
                name="flavor_scratch_in_range",
            ),
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name
