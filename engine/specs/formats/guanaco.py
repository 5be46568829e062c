"""Guanaco and OpenAssistant: one `text` with `### Human:` and `### Assistant:` before the turns.

https://huggingface.co/datasets/timdettmers/openassistant-guanaco
"""

import re
from typing import Any

from engine.specs.formats.fields import finish, take_text
from engine.specs.problems import bad_row
from engine.specs.turns import ConversationRow, Talk

_MARK = re.compile(r"### (Human|Assistant|System):")
_ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}


def fits(row: dict[str, Any]) -> bool:
    """Say whether a row's text has turns of both sides."""
    text = row.get("text")
    return isinstance(text, str) and "### Human:" in text and "### Assistant:" in text


def read(row: dict[str, Any], number: int) -> ConversationRow:
    """Return the conversation; words before the first turn are a system turn.

    Raises:
        BadRow: the text is none, or has no turns.
    """
    text = take_text(row, "text", number)
    preface, *parts = _MARK.split(text)
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    if [name for name, _ in pairs[:2]] == [] or "Assistant" not in parts[::2]:
        raise bad_row(number, "text", "no_dialogue")
    talk = Talk("text")
    if preface.strip():
        talk.add({"role": "system", "content": preface.strip()}, "text")
    for name, said in pairs:
        talk.add({"role": _ROLES[name], "content": said.strip()}, "text")
    return finish(talk, number)
