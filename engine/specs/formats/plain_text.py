"""Documents to pretrain on: one `text` a row, or `content` as WanJuan has it."""

from typing import Any

from engine.specs.formats.fields import need_content, take_text
from engine.specs.turns import TextRow


def fits(row: dict[str, Any]) -> bool:
    """Say whether a row has a text."""
    return "text" in row or "content" in row


def read(row: dict[str, Any], number: int) -> TextRow:
    """Return the document as it is.

    Raises:
        BadRow: it is missing, no text, or empty.
    """
    key = "content" if "content" in row and "text" not in row else "text"
    return TextRow(need_content(take_text(row, key, number), key, number))
