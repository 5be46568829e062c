"""MOSS-003 with plugins: `meta_instruction`, and `chat` with what is thought, called and answered.

https://github.com/OpenMOSS/MOSS, SFT_data: a turn has `Human`, `Inner Thoughts`, `Commands`,
`Tool Responses` and `MOSS`, each between marks such as `<|MOSS|>:` and `<eom>`; `None` is nothing.
"""

import re
from typing import Any

from engine.specs.formats.fields import finish, take_optional, take_text
from engine.specs.problems import bad_row, name_type, show_value
from engine.specs.turns import ConversationRow, Talk

_BEGIN = re.compile(r"^\s*<\|[^|<>]{1,30}\|>:?\s*")
_END = re.compile(r"\s*<eo[a-z]>\s*$")
_TURN = re.compile(r"^turn_(\d{1,6})$")
_CALL = re.compile(
    r"""\s*([A-Za-z_]\w*)\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^()"']*)\s*\)\s*,?"""
)
_API = re.compile(r"^- *([^:\n]+): *enabled\. *API: *(\w+)\((\w*)\)", re.MULTILINE)
_NOTHING = ("", "None", "none")


def fits(row: dict[str, Any]) -> bool:
    """Say whether a row has MOSS's chat."""
    return "meta_instruction" in row or isinstance(row.get("chat"), dict)


def read(row: dict[str, Any], number: int) -> ConversationRow:
    """Return the conversation: a command is a tool call, what was thought before it its content.

    Raises:
        BadRow: with the first field that does not fit.
    """
    talk = Talk("chat")
    meta = take_optional(row, "meta_instruction", number).strip()
    if meta:
        talk.add({"role": "system", "content": meta}, "meta_instruction")
    tools = {name: (about, argument) for about, name, argument in _API.findall(meta)}
    for key, turn in _list_turns(row, number):
        _add_turn(talk, turn, f"chat.{key}", number, tools)
    return finish(talk, number, tools=_describe(tools))


def _list_turns(row: dict[str, Any], number: int) -> list[tuple[str, dict[str, Any]]]:
    chat = row.get("chat")
    if "chat" not in row:
        raise bad_row(number, "chat", "missing")
    if not isinstance(chat, dict) or not chat:
        raise bad_row(number, "chat", "bad_chat", found=name_type(chat))
    for key, turn in chat.items():
        if not _TURN.match(key) or not isinstance(turn, dict):
            found = show_value(key) if isinstance(turn, dict) else name_type(turn)
            raise bad_row(number, "chat", "bad_chat", found=found)
    return sorted(chat.items(), key=lambda item: int(item[0].removeprefix("turn_")))


def _add_turn(
    talk: Talk,
    turn: dict[str, Any],
    at: str,
    number: int,
    tools: dict[str, tuple[str, str]],
) -> None:
    human = _strip(take_text(turn, "Human", number, at=at))
    thought = _strip(take_optional(turn, "Inner Thoughts", number, at=at))
    commands = _strip(take_optional(turn, "Commands", number, at=at))
    results = _strip(take_optional(turn, "Tool Responses", number, at=at))
    answer = _strip(take_text(turn, "MOSS", number, at=at))
    thought = "" if thought in _NOTHING else thought
    talk.add({"role": "user", "content": human}, f"{at}.Human")
    if commands not in _NOTHING:
        calls = _read_commands(commands, f"{at}.Commands", number, tools)
        called = {"role": "assistant", "content": thought, "tool_calls": calls}
        talk.add(called, f"{at}.Commands")
        talk.add({"role": "tool", "content": results}, f"{at}.Tool Responses")
        thought = ""
    elif results not in _NOTHING:
        raise bad_row(number, f"{at}.Tool Responses", "stray_tool")
    words = f"{thought}\n{answer}" if thought and answer.strip() else answer
    talk.add({"role": "assistant", "content": words}, f"{at}.MOSS")


def _strip(text: str) -> str:
    return _END.sub("", _BEGIN.sub("", text)).strip()


def _read_commands(
    commands: str, path: str, number: int, tools: dict[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    calls, place = [], 0
    while place < len(commands):
        match = _CALL.match(commands, place)
        if match is None:
            raise bad_row(number, path, "bad_command", found=show_value(commands[place:]))
        name, given = match[1], match[2].strip()
        if given[:1] in ('"', "'"):
            given = re.sub(r"\\(.)", r"\1", given[1:-1])
        argument = tools.get(name, ("", ""))[1] or "input"
        calls.append({"name": name, "arguments": {argument: given} if given else {}})
        place = match.end()
    return calls


def _describe(tools: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    described = []
    for name, (about, argument) in tools.items():
        wanted = [argument] if argument else []
        parameters = {
            "type": "object",
            "properties": {key: {"type": "string"} for key in wanted},
            "required": wanted,
        }
        described.append({"name": name, "description": about.strip(), "parameters": parameters})
    return described
