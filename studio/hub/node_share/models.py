"""The operator's choice of repos for /share."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class SharedRepo(models.Model):
    """A repo that every node keeps a readable copy of."""

    repo = models.OneToOneField("hub.Repo", on_delete=models.CASCADE, related_name="shared")
    revision = models.CharField(max_length=100, default="main")
    """What is followed: a branch goes on to each of its commits, a tag or a sha stays."""
    chosen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    chosen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.revision}"
