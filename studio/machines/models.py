"""Dev machines, their images and their leases. Statuses are moved by `studio.machines.moves` alone.

A machine is what shall be; its node compares that with its containers and reports (decision 023).
"""

import secrets
import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from studio.compute.models import Flavor, Node

_USUAL_TOOLS = ("vscode", "lab", "tensorboard")
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that is read as another


def make_key() -> str:
    """Return a new machine's key: part of a host name and of a container's, and guessed by none."""
    return "".join(secrets.choice(_LETTERS) for _ in range(12))


class Status(models.TextChoices):
    """Where a machine is."""

    QUEUED = "queued"
    """It waits for room on a node."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    """Its node still has something of it."""
    DELETED = "deleted"


class Reason(models.TextChoices):
    """Why a machine is where it is."""

    NONE = ""
    STOPPED_BY_OWNER = "stopped_by_owner"
    STOPPED_BY_OPERATOR = "stopped_by_operator"
    TIME_UP = "time_up"
    IDLE = "idle"
    POINTS_EXHAUSTED = "points_exhausted"
    ENDED_BY_ITSELF = "ended_by_itself"
    OUT_OF_MEMORY = "out_of_memory"
    CONTAINER_GONE = "container_gone"
    NODE_LOST = "node_lost"
    NODE_DRAINED = "node_drained"
    """An administrator empties its node."""
    NODE_REMOVED = "node_removed"
    START_FAILED = "start_failed"


HOLDS_NODE = [Status.STARTING, Status.RUNNING, Status.STOPPING]
GOES = [Status.QUEUED, *HOLDS_NODE]
"""A lease is open, and its time is to be paid."""


class Image(models.Model):
    """What a machine starts from: registered by an operator, by what no tag can change, or saved
    from a machine by its owner, for whom alone it is."""

    name = models.SlugField(max_length=40)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="saved_images",
    )
    """Who saved it; None is everybody's."""
    node = models.ForeignKey(
        Node, on_delete=models.PROTECT, null=True, blank=True, related_name="saved_images"
    )
    """The one node that has it; None where every node has."""
    size_bytes = models.PositiveBigIntegerField(default=0)
    """Of one that was saved; 0 where nobody has measured it."""
    title = models.CharField(max_length=80)
    reference = models.CharField(max_length=255, blank=True)
    """As the nodes' engines know it: `name@sha256:...`, or an image's id. Blank while it is being
    saved."""
    tools = models.JSONField(default=dict, blank=True)
    """Name of a tool to the port it listens on: `{"vscode": 8080}`."""
    flavors = models.ManyToManyField(Flavor, blank=True, related_name="+")
    """On which it may run; none chosen is all."""
    is_active = models.BooleanField(default=True)
    idle_s = models.PositiveIntegerField(null=True, blank=True)
    """After how much idleness its machines stop; 0 is never, None what the studio has set."""
    is_kept = models.BooleanField(default=True)
    """Of a saved one: its owner keeps it. Else it goes with the last machine that has it."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """A name is one of everybody's, or one of its owner's."""

        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(owner__isnull=True), name="image_name_once"
            ),
            models.UniqueConstraint(
                fields=["owner", "name"],
                condition=Q(owner__isnull=False, is_kept=True),
                name="saved_image_name_once",
            ),
        ]

    @property
    def ordered_tools(self) -> dict[str, int]:
        """The tools by how usual they are: a database may keep the keys of JSON in any order."""
        given = self.tools or {}
        usual = [name for name in _USUAL_TOOLS if name in given]
        return {name: int(given[name]) for name in [*usual, *sorted(set(given) - set(usual))]}

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class NodeEngine(models.Model):
    """What a node last said of its Docker engine."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="machine_engine")
    version = models.CharField(max_length=100, blank=True)
    """Blank where none answers, or where it may not be used."""
    problem = models.CharField(max_length=500, blank=True)
    relay_host = models.CharField(max_length=255, blank=True)
    relay_port = models.PositiveIntegerField(default=0)
    """Where the node's relay listens; 0 where there is none."""
    studio_url = models.CharField(max_length=255, blank=True)
    """The studio's address for machines on this node."""
    images = models.JSONField(default=None, null=True, blank=True)
    """References of the offered images that its engine has; None until it has looked."""
    unlimited = models.JSONField(default=list, blank=True)
    """What of its disk the node cannot limit for each machine: `layer`, `scratch`."""
    reported_at = models.DateTimeField()

    def __str__(self) -> str:
        """Return whose it is."""
        return f"engine of {self.node_id}"


class Machine(models.Model):
    """One person's dev machine."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=20, unique=True, default=make_key, editable=False)
    """What nodes, host names and containers know it by."""
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="machines"
    )
    name = models.CharField(max_length=40)
    """What `ssh NAME@host` says: small letters, digits and `-`."""
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="machines")
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="machines")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    status_since = models.DateTimeField()
    reason = models.CharField(max_length=30, choices=Reason.choices, blank=True, default="")
    message = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()

    node = models.ForeignKey(
        Node, on_delete=models.PROTECT, null=True, blank=True, related_name="machines"
    )
    """The node that has its container; kept while it is stopped."""
    device_indexes = models.JSONField(default=list, blank=True)
    life = models.PositiveIntegerField(default=1)
    """Raised where its container shall be made anew."""
    start = models.PositiveIntegerField(default=1)
    """Raised with each start that is asked for."""
    shutdown_reason = models.CharField(max_length=30, choices=Reason.choices, blank=True)
    """Why it was told to stop; it becomes the reason when it has."""
    restarts = models.BooleanField(default=False)
    """It is to start again as soon as it has stopped."""
    lease = models.ForeignKey(
        "Lease", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """The one it is running under, or the last."""
    progress = models.JSONField(default=dict, blank=True)
    """When each part of its last start was done; see `studio.machines.progress`."""
    tabs = models.JSONField(default=dict, blank=True)
    """Which of its tools its owner had open; see `studio.machines.tabs`."""

    class Meta:
        """What no code may break."""

        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                condition=~Q(status__in=[Status.DELETING, Status.DELETED]),
                name="machine_name_once",
            ),
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="machine_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=HOLDS_NODE) | Q(node__isnull=False),
                name="machine_held_has_node",
            ),
        ]
        indexes = [
            models.Index(
                fields=["node", "status"],
                condition=~Q(status=Status.DELETED),
                name="machine_of_node",
            )
        ]

    @property
    def tied_node_id(self) -> int | None:
        """The one node that can start it: it has its container, or its image; None is any."""
        return self.node_id or self.image.node_id

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Saving(models.Model):
    """A machine's container being made an image; see `studio.machines.saving`."""

    key = models.CharField(max_length=20, unique=True, default=make_key, editable=False)
    """What its node knows the image by."""
    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="savings")
    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="saving")
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    """None while it goes on."""
    problem = models.CharField(max_length=500, blank=True)
    """Why it failed, one sentence; blank where it did not."""

    class Meta:
        """A machine is saved once at a time."""

        constraints = [
            models.UniqueConstraint(
                fields=["machine"], condition=Q(ended_at__isnull=True), name="saving_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        """Return what is saved as what."""
        return f"{self.machine_id} as {self.image_id}"


class Lease(models.Model):
    """One time of running: what it may cost, what it did, and until when it goes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    """What the ledger knows it by."""
    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="leases")
    rate_mpoints_per_hour = models.PositiveBigIntegerField()
    granted_s = models.PositiveIntegerField()
    """The time that is held for, extensions included."""
    num_parts = models.PositiveIntegerField(default=1)
    """How often points were held for it."""
    made_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    """When its node first showed it running."""
    seen_at = models.DateTimeField(null=True, blank=True)
    """When its node last did."""
    used_s = models.FloatField(default=0)
    """What is to be paid: only time that the node has shown proof of."""
    charged_s = models.FloatField(default=0)
    """How much of it the ledger has charged; the rest is held."""
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """A machine has one open lease."""

        constraints = [
            models.UniqueConstraint(
                fields=["machine"], condition=Q(ended_at__isnull=True), name="lease_one_open"
            )
        ]

    def __str__(self) -> str:
        """Return whose it is."""
        return f"lease of {self.machine_id}"


class Audience(models.TextChoices):
    """Who may open a published port."""

    PRIVATE = "private"
    """Its owner, as any port."""
    CLASS = "class"
    """Who shares an organization with its owner."""
    PUBLIC = "public"


class PublishedPort(models.Model):
    """A port of a machine that others may open, until a time."""

    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="ports")
    port = models.PositiveIntegerField()
    audience = models.CharField(max_length=10, choices=Audience.choices)
    until = models.DateTimeField(null=True, blank=True)
    """None is as long as the machine is."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """One say for each port."""

        constraints = [
            models.UniqueConstraint(fields=["machine", "port"], name="port_once"),
            models.CheckConstraint(condition=Q(port__range=(1, 65535)), name="port_in_range"),
        ]

    def __str__(self) -> str:
        """Return which port of which machine."""
        return f"{self.machine_id}:{self.port}"


class StudioPort(models.Model):
    """A port of the studio's own host that stands for one of a machine's; see `web.numbers`."""

    number = models.PositiveIntegerField(primary_key=True)
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="studio_ports")
    port = models.PositiveIntegerField()
    turn = models.PositiveIntegerField(default=1)
    """Raised where it goes to another person: browsers may have kept something of the last."""
    used_at = models.DateTimeField()

    class Meta:
        """Never two for one."""

        constraints = [models.UniqueConstraint(fields=["machine", "port"], name="studio_port_once")]

    def __str__(self) -> str:
        """Return what stands for what."""
        return f"{self.number} for {self.machine_id}:{self.port}"


class Activity(models.Model):
    """When a machine was last used, as far as the studio has looked."""

    machine = models.OneToOneField(
        Machine, on_delete=models.CASCADE, primary_key=True, related_name="activity"
    )
    active_at = models.DateTimeField()
    sign = models.CharField(max_length=10)
    """What showed it, a `studio.machines.idle.Sign`."""
    kept_until = models.DateTimeField(null=True, blank=True)
    """Until when its owner wants it to go on, used or not."""

    def __str__(self) -> str:
        """Return whose it is."""
        return f"activity of {self.machine_id}"


class UsageMinute(models.Model):
    """What a machine used in one minute, as its node told; gone after a day."""

    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="usage_minutes")
    minute = models.PositiveIntegerField(db_index=True)
    """Minutes since 1970."""
    cores = models.FloatField(null=True)
    memory_bytes = models.BigIntegerField(null=True)
    gpu_busy_ratio = models.FloatField(null=True)
    gpu_memory_bytes = models.BigIntegerField(null=True)
    received_bytes_per_s = models.FloatField(null=True)
    sent_bytes_per_s = models.FloatField(null=True)
    layer_bytes = models.BigIntegerField(null=True)
    scratch_bytes = models.BigIntegerField(null=True)

    class Meta:
        """A minute that is told again is the one that is there."""

        constraints = [
            models.UniqueConstraint(fields=["machine", "minute"], name="usage_minute_once")
        ]

    def __str__(self) -> str:
        """Return whose it is."""
        return f"minute {self.minute} of {self.machine_id}"
