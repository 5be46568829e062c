"""ShareGPT: `conversations` of `from` and `value`, with `function_call` and `observation` turns.

As LLaMA-Factory and XTuner read it. Sets that write `role` and `content` there are taken too.
"""

from typing import Any

from engine.specs.formats.fields import finish, take_optional, take_text
from engine.specs.problems import bad_row, name_type, show_value
from engine.specs.turns import ConversationRow, Message, Talk, check_calls, is_weight, parse_json

ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}


def fits(row: dict[str, Any]) -> bool:
    """Say whether a row has conversations."""
    return "conversations" in row


def read(row: dict[str, Any], number: int) -> ConversationRow:
    """Return the conversation.

    Raises:
        BadRow: with the first turn that does not fit.
    """
    return finish(read_talk(row, number), number, tools=row.get("tools"))


def read_talk(row: dict[str, Any], number: int) -> Talk:
    """Return the turns, each good by itself; their order is not checked.

    Raises:
        BadRow: with the first turn that does not fit.
    """
    turns = row.get("conversations")
    if "conversations" not in row:
        raise bad_row(number, "conversations", "missing")
    if not isinstance(turns, list):
        raise bad_row(number, "conversations", "not_list", found=name_type(turns))
    if not turns:
        raise bad_row(number, "conversations", "empty_list")
    talk = Talk("conversations")
    if system := take_optional(row, "system", number):
        talk.add({"role": "system", "content": system}, "system")
    for index, turn in enumerate(turns):
        at = f"conversations[{index}]"
        talk.add(read_turn(turn, at, number), at, f"{at}.value")
    return talk


def read_turn(turn: object, at: str, number: int) -> Message:
    """Return one turn as a message.

    Raises:
        BadRow: it does not fit.
    """
    if not isinstance(turn, dict):
        raise bad_row(number, at, "not_turn", found=name_type(turn))
    keys = ("from", "value") if "from" in turn or "role" not in turn else ("role", "content")
    if keys[0] not in turn:
        raise bad_row(number, f"{at}.from", "missing")
    speaker = turn[keys[0]]
    role = ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise bad_row(number, f"{at}.{keys[0]}", "bad_speaker", found=show_value(speaker))
    text = take_text(turn, keys[1], number, at=at)
    message: Message = {"role": role, "content": text}
    if speaker == "function_call":
        message = {"role": role, "content": "", "tool_calls": _read_calls(text, at, number)}
    weight = turn.get("loss_weight")
    if weight is not None:
        if not is_weight(weight) or (weight and role == "tool"):
            code = "weighted_tool" if is_weight(weight) else "bad_weight"
            raise bad_row(number, f"{at}.loss_weight", code, found=str(weight)[:40])
        message["loss_weight"] = weight
    return message


def _read_calls(text: str, at: str, number: int) -> list[dict[str, Any]]:
    value = parse_json(text)
    calls = value if isinstance(value, list) else [value]
    path = f"{at}.value"
    if not calls:
        raise bad_row(number, path, "bad_call", found=name_type(value))
    for problem in check_calls(calls, path, number):
        raise bad_row(number, path, problem.code, **problem.params)
    return calls
