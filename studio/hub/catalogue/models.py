"""What the catalogue notes of a repo, to search and count by; made anew with every commit."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class LabelKind(models.TextChoices):
    """What a label tells; a repo may have several of each."""

    LANGUAGE = "language"
    MODALITY = "modality"
    FORMAT = "format"
    TAG = "tag"


class CatalogueEntry(models.Model):
    """One repo's words and facts."""

    repo = models.OneToOneField(
        "hub.Repo", on_delete=models.CASCADE, primary_key=True, related_name="entry"
    )
    words = models.TextField(blank=True)
    """Name, summary and card, cut into words; see `studio.hub.catalogue.words`."""
    task = models.CharField(max_length=60, blank=True)
    library = models.CharField(max_length=60, blank=True)
    base_relation = models.CharField(max_length=20, blank=True)
    """How it came from its base: adapter, quantized, merge, finetune."""
    num_params = models.PositiveBigIntegerField(null=True, blank=True)
    num_likes = models.PositiveIntegerField(default=0)

    class Meta:
        """Lists are narrowed by task and library and sorted by likes.

        PostgreSQL has a GIN index over `words` too: see the migration.
        """

        indexes = [
            models.Index(fields=["task"], name="entry_task"),
            models.Index(fields=["library"], name="entry_library"),
            models.Index(fields=["-num_likes"], name="entry_likes"),
        ]

    def __str__(self) -> str:
        return str(self.repo_id)


class RepoLabel(models.Model):
    """One language, modality, format or tag of a repo."""

    repo = models.ForeignKey("hub.Repo", on_delete=models.CASCADE, related_name="labels")
    kind = models.CharField(max_length=8, choices=LabelKind.choices)
    value = models.CharField(max_length=60)

    class Meta:
        """Once each; found from the value."""

        constraints = [
            models.UniqueConstraint(fields=["repo", "kind", "value"], name="repo_label_once")
        ]
        indexes = [models.Index(fields=["kind", "value"], name="repo_label_value")]

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


class Like(models.Model):
    """A person likes a repo."""

    repo = models.ForeignKey("hub.Repo", on_delete=models.CASCADE, related_name="likes")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    liked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """Once a person."""

        constraints = [models.UniqueConstraint(fields=["repo", "user"], name="like_once")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.repo_id}"
