"""Labelling projects: who labels which rows of one pinned revision, and what they said.

A row of the file gets an `Item` when it is first handed out, so a project over millions of rows
costs nothing until people come. Rows themselves are read from the hub and never copied.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

MOST_ANNOTATORS = 5
ACTIVE = ["waiting", "running", "stopping"]


class TaskKind(models.TextChoices):
    """What people do with a row."""

    REVIEW = "review"
    RANK = "rank"
    SPANS = "spans"


class AnswerState(models.TextChoices):
    """Whether a row is in somebody's hands, answered, put aside, or back in the pool."""

    HELD = "held"
    DONE = "done"
    SKIPPED = "skipped"
    LAPSED = "lapsed"


class Project(models.Model):
    """One dataset revision being labelled for one purpose."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="labelling_projects"
    )
    name = models.CharField(max_length=120)
    instructions = models.TextField(blank=True, max_length=20_000)
    kind = models.CharField(max_length=8, choices=TaskKind.choices)
    commit = models.ForeignKey(
        "hub.Commit", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """The pinned revision; None once its dataset was deleted. Answers stay."""
    dataset = models.CharField(max_length=200)
    revision = models.CharField(max_length=40)
    path = models.CharField(max_length=1024)
    num_rows = models.PositiveBigIntegerField()
    text_field = models.CharField(max_length=200, blank=True)
    """Of spans: dotted path of the text in a row, such as `messages.1.content`."""
    labels = models.JSONField(default=list, blank=True)
    """Of spans: the names that a span may have."""
    needs_drafts = models.BooleanField(default=False)
    """Of rank: the second answer is a model's, so a row waits until it has one."""
    num_annotators = models.PositiveSmallIntegerField(default=1)
    """How many people answer each row."""
    shows_names = models.BooleanField(default=True)
    """Whether what is saved says who by username; else by number."""
    is_open = models.BooleanField(default=True)
    next_row = models.PositiveBigIntegerField(default=0)
    """Rows from here on were never handed out."""
    next_draft_row = models.PositiveBigIntegerField(default=0)
    """Rows before it were drafted, or could not be."""
    saved_sha256 = models.CharField(max_length=64, blank=True)
    """Of the file that was last saved as a revision of the dataset itself."""
    num_answers = models.PositiveBigIntegerField(default=0)
    num_done = models.PositiveBigIntegerField(default=0)
    """Rows with all the answers they shall have."""
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """Listed by who owns them, newest first."""

        indexes = [models.Index(fields=["owner", "-updated_at"], name="labelling_newest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(num_annotators__gte=1, num_annotators__lte=MOST_ANNOTATORS),
                name="labelling_annotators_known",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """Somebody who labels. The owner is one too."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="labelling_memberships"
    )
    number = models.PositiveIntegerField()
    """What they are called where names are not shown, from 1."""
    is_active = models.BooleanField(default=True)
    next_row = models.PositiveBigIntegerField(default=0)
    """Rows before it were offered to them already."""
    num_done = models.PositiveBigIntegerField(default=0)
    """Rows they have answered."""
    joined_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """Once is enough."""

        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="labelling_member_once"),
            models.UniqueConstraint(fields=["project", "number"], name="labelling_number_once"),
        ]
        ordering = ["number"]

    def __str__(self) -> str:
        return f"{self.project_id} {self.user_id}"


class Item(models.Model):
    """A row that was handed out at least once."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="items")
    row = models.PositiveBigIntegerField()
    """Of the file, from 0; blank lines do not count."""
    num_free = models.PositiveSmallIntegerField()
    """How many more people may take it."""
    was_returned = models.BooleanField(default=False)
    """Somebody gave it back: people who are past it get it after all."""
    num_answers = models.PositiveSmallIntegerField(default=0)
    is_disputed = models.BooleanField(default=False)
    """Its answers differ."""
    decision = models.JSONField(null=True, blank=True)
    """What the owner decided: `verdict`, `content`, `reason`."""
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """The two partial indexes answer "which row next" however long the file is."""

        constraints = [
            models.UniqueConstraint(fields=["project", "row"], name="labelling_item_once")
        ]
        indexes = [
            models.Index(
                fields=["project", "row"], name="labelling_free", condition=Q(num_free__gt=0)
            ),
            models.Index(
                fields=["project", "row"],
                name="labelling_returned",
                condition=Q(was_returned=True, num_free__gt=0),
            ),
            models.Index(
                fields=["project", "row"], name="labelling_disputed", condition=Q(is_disputed=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project_id} row {self.row}"


class Answer(models.Model):
    """One person's place at one row: in their hands, or what they said."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="answers")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="answers")
    row = models.PositiveBigIntegerField()
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    state = models.CharField(max_length=8, choices=AnswerState.choices, default=AnswerState.HELD)
    revision = models.PositiveIntegerField(default=0)
    """Counts what was sent; a tab that saw an older one is told so."""
    verdict = models.CharField(max_length=8, blank=True)
    content = models.JSONField(default=dict, blank=True)
    """Of an edit: `messages`; of spans: `spans`."""
    reason = models.TextField(blank=True, max_length=4000)
    key = models.CharField(max_length=60, blank=True)
    """Equal answers have equal keys."""
    unsent = models.JSONField(null=True, blank=True)
    """What was typed and not sent yet."""
    expires_at = models.DateTimeField(null=True, blank=True)
    """When a held row goes back to the pool."""
    taken_at = models.DateTimeField(default=timezone.now)
    done_at = models.DateTimeField(null=True, blank=True)
    seconds = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        """One place per person and row."""

        constraints = [
            models.UniqueConstraint(fields=["item", "annotator"], name="labelling_answer_once")
        ]
        indexes = [
            models.Index(fields=["project", "annotator", "-done_at"], name="labelling_mine"),
            models.Index(
                fields=["project", "expires_at"],
                name="labelling_expiring",
                condition=Q(state=AnswerState.HELD.value),
            ),
            models.Index(fields=["project", "row"], name="labelling_by_row"),
            models.Index(fields=["project", "annotator", "row"], name="labelling_mine_by_row"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id} {self.annotator_id} {self.state}"


class Draft(models.Model):
    """What a model proposed for a row. Never an answer: people decide."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="drafts")
    row = models.PositiveBigIntegerField()
    model = models.CharField(max_length=300)
    text = models.TextField(blank=True)
    spans = models.JSONField(default=list, blank=True)
    error = models.TextField(blank=True)
    """Why there is none; empty where there is."""
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """One for a row."""

        constraints = [
            models.UniqueConstraint(fields=["project", "row"], name="labelling_draft_once")
        ]

    def __str__(self) -> str:
        return f"{self.project_id} draft {self.row}"


class DraftingState(models.TextChoices):
    """Where a round of drafting is. `waiting`: its model is being started."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PAUSED = "paused"
    FINISHED = "finished"


class Drafting(models.Model):
    """One round of asking a model for drafts; what it costs is the project owner's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="draftings")
    model = models.CharField(max_length=300)
    system = models.TextField(blank=True)
    temperature = models.FloatField(default=0.7)
    max_tokens = models.PositiveIntegerField(default=512)
    first_row = models.PositiveBigIntegerField()
    next_row = models.PositiveBigIntegerField()
    end_row = models.PositiveBigIntegerField()
    num_made = models.PositiveBigIntegerField(default=0)
    num_failed = models.PositiveBigIntegerField(default=0)
    rate_mpoints_per_hour = models.PositiveBigIntegerField(default=0)
    limit_mpoints = models.PositiveBigIntegerField(default=0)
    spent_mpoints = models.PositiveBigIntegerField(default=0)
    spent_ms = models.PositiveBigIntegerField(default=0)
    """How long the model's server worked for it."""
    state = models.CharField(
        max_length=8, choices=DraftingState.choices, default=DraftingState.WAITING
    )
    code = models.CharField(max_length=60, blank=True)
    message = models.TextField(blank=True)
    """Why it stands still; one sentence."""
    num_tries = models.PositiveSmallIntegerField(default=0)
    """How often in a row the model's server was away."""
    claimed_until = models.DateTimeField(null=True, blank=True)
    """A worker has it in hand until then."""
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """One at a time for a project."""

        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=Q(state__in=ACTIVE), name="labelling_drafting_once"
            )
        ]
        indexes = [models.Index(fields=["state"], name="labelling_drafting_state")]

    def __str__(self) -> str:
        return f"{self.project_id} {self.model} {self.state}"
