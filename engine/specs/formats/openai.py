"""OpenAI's chat format: `messages` with `role` and `content`, `tools`, and `tool_calls`.

https://platform.openai.com/docs/api-reference/chat, and a `loss_weight` for each message.
"""

from typing import Any

from engine.specs.messages import check_messages
from engine.specs.problems import BadRow
from engine.specs.turns import ConversationRow, clean_messages, clean_tools


def fits(row: dict[str, Any]) -> bool:
    """Say whether a row has messages."""
    return "messages" in row


def read(row: dict[str, Any], number: int) -> ConversationRow:
    """Return the conversation.

    Raises:
        BadRow: with every problem of the row.
    """
    if problems := list(check_messages(row, number)):
        raise BadRow(problems)
    return ConversationRow(clean_messages(row["messages"]), clean_tools(row.get("tools")))
