"""Takes single fields out of a row, and finishes what the formats have in common."""

from collections.abc import Sequence
from typing import Any

from engine.specs.problems import (
    BadRow,
    RowProblem,
    bad_row,
    has_bad_text,
    make_problem,
    name_type,
)
from engine.specs.turns import (
    ConversationRow,
    Talk,
    check_talk,
    check_tools,
    clean_messages,
    clean_tools,
)


def take_text(row: dict[str, Any], key: str, number: int, *, at: str = "") -> str:
    """Return the text of a field; `at` is the path of the object that has it.

    Raises:
        BadRow: it is missing, or no text.
    """
    path = f"{at}.{key}" if at else key
    if key not in row:
        raise bad_row(number, path, "missing")
    return check_text(row[key], path, number)


def take_optional(row: dict[str, Any], key: str, number: int, *, at: str = "") -> str:
    """Return the text of a field, empty where it is missing or null."""
    return "" if row.get(key) is None else take_text(row, key, number, at=at)


def check_text(value: object, path: str, number: int) -> str:
    """Return a value that is text.

    Raises:
        BadRow: it is not.
    """
    if not isinstance(value, str):
        raise bad_row(number, path, "not_text", found=name_type(value))
    if has_bad_text(value):
        raise bad_row(number, path, "bad_text")
    return value


def finish(
    talk: Talk, number: int, *, tools: object = None, found: Sequence[RowProblem] = ()
) -> ConversationRow:
    """Check a conversation as a whole and return it in canonical form.

    Raises:
        BadRow: with what was `found` before, or what the order of turns has.
    """
    problems = [*found, *check_tools(tools, "tools", number)]
    problems = problems or list(check_talk(talk, number))
    if problems:
        raise BadRow(problems)
    return ConversationRow(clean_messages(talk.messages), clean_tools(tools))


def need_content(text: str, path: str, number: int) -> str:
    """Return a text that has more than white space.

    Raises:
        BadRow: it has not.
    """
    if not text.strip():
        raise BadRow([make_problem(number, path, "empty_text")])
    return text
