"""Alpaca: `instruction`, `input`, `output`, and often `system` and `history`.

https://github.com/tatsu-lab/stanford_alpaca, `system` and `history` as LLaMA-Factory has them.
"""

from typing import Any

from engine.specs.formats.fields import check_text, finish, take_optional, take_text
from engine.specs.problems import bad_row, name_type
from engine.specs.turns import ConversationRow, Talk


def fits(row: dict[str, Any]) -> bool:
    """Say whether a row has an instruction."""
    return "instruction" in row


def read(row: dict[str, Any], number: int) -> ConversationRow:
    """Return the conversation: the input stands below the instruction, in one user turn.

    Raises:
        BadRow: with the first field that does not fit.
    """
    talk = Talk("output")
    if system := take_optional(row, "system", number):
        talk.add({"role": "system", "content": system}, "system")
    _add_history(talk, row.get("history"), number)
    question = take_question(row, number)
    talk.add({"role": "user", "content": question}, "instruction")
    talk.add({"role": "assistant", "content": take_text(row, "output", number)}, "output")
    return finish(talk, number, tools=row.get("tools"))


def take_question(row: dict[str, Any], number: int) -> str:
    """Return instruction and input as one text.

    Raises:
        BadRow: one of them is no text.
    """
    asked = take_text(row, "instruction", number)
    given = take_optional(row, "input", number)
    return "\n".join(part for part in (asked, given) if part)


def _add_history(talk: Talk, history: object, number: int) -> None:
    if history is None or history == "":
        return
    if not isinstance(history, list):
        raise bad_row(number, "history", "bad_pair", found=name_type(history))
    for index, pair in enumerate(history):
        at = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise bad_row(number, at, "bad_pair", found=name_type(pair))
        for place, role in enumerate(("user", "assistant")):
            path = f"{at}[{place}]"
            talk.add({"role": role, "content": check_text(pair[place], path, number)}, path)
