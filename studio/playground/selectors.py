"""What may be seen in the playground: one's own conversations, and the models to talk to."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.hub.models import Role
from studio.playground.models import Conversation
from studio.serving.selectors import list_models, map_statuses


@dataclass(frozen=True)
class PlaygroundModel:
    """A model to talk to."""

    id: str
    base: str | None
    is_adapter: bool
    title: str
    deployment_status: str


def list_conversations(viewer: User) -> QuerySet[Conversation]:
    """Return a person's own conversations, last used first."""
    return Conversation.objects.filter(owner=viewer).order_by("-updated_at", "pk")


def get_conversation(viewer: User, conversation_id: Any) -> Conversation:
    """Return one of a person's own conversations, its messages fetched in order.

    Raises:
        NotFound: there is none of theirs.
    """
    own = list_conversations(viewer).prefetch_related("messages")
    found = own.filter(pk=conversation_id).first()
    if found is None:
        raise NotFound
    return found


def has_conversations(user: User) -> bool:
    """Say whether the person has ever talked to a model."""
    return Conversation.objects.filter(owner=user).exists()


def list_playground_models(viewer: User) -> list[PlaygroundModel]:
    """Return the models a person may talk to, bases first."""
    statuses = map_statuses()
    return [
        PlaygroundModel(
            id=repo.repo_id,
            base=repo.base_model if repo.role == Role.ADAPTER else None,
            is_adapter=repo.role == Role.ADAPTER,
            title=repo.name,
            deployment_status=statuses.get((repo.base_model or repo.repo_id).lower(), "none"),
        )
        for repo in list_models(viewer)
    ]
