"""Conversations with one to four models side by side."""

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class Conversation(models.Model):
    """A person's talk. Each side is a model with its own history."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations"
    )
    title = models.CharField(max_length=120, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    """`models`, `system`, `temperature`, `top_p`, `max_tokens`, `seed`, as last used."""
    num_turns = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """Listed newest first."""

        indexes = [models.Index(fields=["owner", "-updated_at"], name="conversation_newest")]

    def __str__(self) -> str:
        return self.title or str(self.pk)


class MessageState(models.TextChoices):
    """How an answer came out."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


class Message(models.Model):
    """A prompt (side 0 stands for all sides) or one side's answer."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages"
    )
    turn = models.PositiveIntegerField()
    """From 1."""
    side = models.PositiveSmallIntegerField(default=0)
    role = models.CharField(max_length=10, choices=[("user", "user"), ("assistant", "assistant")])
    model = models.CharField(max_length=300, blank=True)
    content = models.TextField(blank=True)
    state = models.CharField(
        max_length=8, choices=MessageState.choices, default=MessageState.COMPLETE
    )
    error = models.TextField(blank=True)
    num_prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    num_tokens = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_s = models.FloatField(null=True, blank=True)
    first_token_ms = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """One prompt per turn and one answer per side."""

        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "turn", "role", "side"], name="message_once"
            )
        ]
        ordering = ["turn", "-role", "side"]

    def __str__(self) -> str:
        return f"{self.conversation_id} turn {self.turn} {self.role} {self.side}"
