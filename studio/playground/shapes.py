"""Turns conversations and messages into what the API shows."""

from typing import Any

from studio.playground.models import Conversation, Message
from studio.playground.serializers import (
    ChatMessageOutput,
    ChatSettingsInput,
    ConversationHeadOutput,
    ConversationOutput,
)


def show_head(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation without its messages."""
    return dict(ConversationHeadOutput(_head(conversation)).data)


def show_conversation(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation with its messages."""
    messages = [_message(message) for message in conversation.messages.all()]
    return dict(ConversationOutput(_head(conversation) | {"messages": messages}).data)


def show_message(message: Message) -> dict[str, Any]:
    """Return one message."""
    return dict(ChatMessageOutput(_message(message)).data)


def _head(conversation: Conversation) -> dict[str, Any]:
    known = ChatSettingsInput(data=conversation.settings)
    known.is_valid(raise_exception=True)  # fills what was never set
    return {
        "id": conversation.pk,
        "title": conversation.title,
        "settings": dict(known.validated_data),
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }


def _message(message: Message) -> dict[str, Any]:
    names = ChatMessageOutput().fields.keys()
    body = {name: getattr(message, name) for name in names}
    return body | {"model": message.model or None, "error": message.error or None}
