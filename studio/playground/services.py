"""What may be done with conversations: begin, rename, delete, ask, and keep what was answered."""

from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import NotFound
from studio.playground.models import Conversation, Message, MessageState
from studio.playground.selectors import get_conversation

_MOST_TITLE = 120
_TITLE_FROM_PROMPT = 60


@dataclass(frozen=True)
class Ask:
    """A prompt, to whom, and how they shall answer."""

    prompt: str
    models: list[str]
    system: str = ""
    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 512
    seed: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the conversation remembers for the next turn."""
        return {
            "models": self.models,
            "system": self.system,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }


@dataclass
class Reply:
    """One side's answer as far as it has come."""

    side: int
    model: str
    content: str = ""
    state: str = MessageState.STOPPED
    error: str = ""
    num_prompt_tokens: int | None = None
    num_tokens: int | None = None
    tokens_per_s: float | None = None
    first_token_ms: float | None = None


@dataclass(frozen=True)
class Turn:
    """A turn that has begun: its prompt is kept, its answers are still to come."""

    conversation: Conversation
    number: int
    histories: list[list[dict[str, str]]] = field(default_factory=list)
    """By side: the messages to send, the new prompt last."""


@transaction.atomic
def create_conversation(
    *, by: User, title: str = "", settings: dict[str, Any] | None = None
) -> Conversation:
    """Begin a conversation."""
    conversation = Conversation(owner=by, title=title[:_MOST_TITLE], settings=settings or {})
    conversation.full_clean()
    conversation.save(force_insert=True)
    audit.record("conversation.created", actor=by, subject=str(conversation.pk))
    return conversation


@transaction.atomic
def update_conversation(
    *,
    by: User,
    conversation: Conversation,
    title: str | None = None,
    settings: dict[str, Any] | None = None,
) -> Conversation:
    """Rename a conversation, or change what its next turn begins with.

    Raises:
        NotFound: it is not the caller's.
    """
    _check_owner(by, conversation)
    conversation.title = conversation.title if title is None else title[:_MOST_TITLE]
    conversation.settings = conversation.settings | (settings or {})
    conversation.full_clean()
    conversation.save(update_fields=["title", "settings"])
    audit.record("conversation.updated", actor=by, subject=str(conversation.pk))
    return conversation


@transaction.atomic
def delete_conversation(*, by: User, conversation: Conversation) -> None:
    """Delete a conversation and all that was said in it.

    Raises:
        NotFound: it is not the caller's.
    """
    _check_owner(by, conversation)
    subject = str(conversation.pk)
    conversation.delete()
    audit.record("conversation.deleted", actor=by, subject=subject)


@transaction.atomic
def begin_turn(*, by: User, conversation_id: Any, ask: Ask) -> Turn:
    """Keep the prompt, and return what to send to each side.

    Raises:
        NotFound: the conversation is not the caller's.
    """
    get_conversation(by, conversation_id)
    conversation = Conversation.objects.select_for_update().get(pk=conversation_id)
    said = list(conversation.messages.order_by("turn", "-role", "side"))
    conversation.num_turns = F("num_turns") + 1
    conversation.updated_at = timezone.now()
    conversation.settings = ask.settings
    conversation.title = conversation.title or _make_title(ask.prompt)
    conversation.save()
    conversation.refresh_from_db()
    number = conversation.num_turns
    Message.objects.create(conversation=conversation, turn=number, role="user", content=ask.prompt)
    histories = [_make_history(said, side, ask) for side in range(len(ask.models))]
    return Turn(conversation, number, histories)


@transaction.atomic
def keep_reply(*, turn: Turn, reply: Reply) -> Message:
    """Keep one side's answer, whole or cut short; a conversation deleted meanwhile keeps none.

    Raises:
        NotFound: the conversation is gone.
    """
    found = Conversation.objects.select_for_update().filter(pk=turn.conversation.pk).first()
    if found is None:
        raise NotFound
    message = Message.objects.create(
        conversation=found, turn=turn.number, role="assistant", **vars(reply)
    )
    found.updated_at = timezone.now()
    found.save(update_fields=["updated_at"])
    return message


def _check_owner(by: User, conversation: Conversation) -> None:
    if conversation.owner_id != by.pk:
        raise NotFound


def _make_title(prompt: str) -> str:
    lines = prompt.strip().splitlines()
    return lines[0][:_TITLE_FROM_PROMPT] if lines else ""


def _make_history(said: list[Message], side: int, ask: Ask) -> list[dict[str, str]]:
    """Return a side's own talk: every prompt it answered and its answers, then the new prompt.

    A turn that the side failed at, or was not there for, is left out: a prompt without its answer
    would make the next one two prompts in a row.
    """
    history = [{"role": "system", "content": ask.system}] if ask.system else []
    prompts = {message.turn: message.content for message in said if message.role == "user"}
    for message in said:
        is_mine = message.role == "assistant" and message.side == side
        if is_mine and message.content and message.state != MessageState.FAILED:
            history.append({"role": "user", "content": prompts.get(message.turn, "")})
            history.append({"role": "assistant", "content": message.content})
    return [*history, {"role": "user", "content": ask.prompt}]
