"""The one canonical form of what a row teaches, and the rules that every conversation keeps.

A contract module: pydantic and the standard library only. Tool calls and per-message `loss_weight`
as in OpenAI's chat format and LLaMA-Factory v1's. Readers of formats: `engine/specs/formats/`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.specs.problems import RowProblem, find_bad_text, make_problem, name_type, show_value

ROLES = ("system", "user", "assistant", "tool")
Message = dict[str, Any]
"""`role`, `content` and, where there are any, `tool_calls`, `tool_call_id`, `loss_weight`; other
fields go to the model's chat template as they are."""


@dataclass(frozen=True)
class ConversationRow:
    """A conversation whose assistant's turns are learnt."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    """Functions that the assistant may call, as OpenAI describes them."""


@dataclass(frozen=True)
class TextRow:
    """A document that is learnt whole."""

    text: str


@dataclass(frozen=True)
class PreferenceRow:
    """A prompt with a better and a worse answer to it."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    tools: list[dict[str, Any]] | None = None


Row = ConversationRow | TextRow | PreferenceRow


def get_weight(message: Message) -> float:
    """Return how much a message's tokens count in the loss: 1 for an answer, else 0, by default."""
    weight = message.get("loss_weight")
    if weight is None:
        return 1.0 if message.get("role") == "assistant" else 0.0
    return float(weight)


@dataclass
class Talk:
    """Messages with the paths that they have in the file, so that problems name what is there."""

    root: str
    """Field that holds the conversation."""
    messages: list[Message] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    """Of each message: its turn's path."""
    content_paths: list[str] = field(default_factory=list)

    def add(self, message: Message, path: str, content_path: str = "") -> None:
        """Append a message that stands at `path`, its words at `content_path`."""
        self.messages.append(message)
        self.paths.append(path)
        self.content_paths.append(content_path or path)


def check_talk(talk: Talk, number: int) -> Iterator[RowProblem]:
    """Tell what is wrong with the order of turns; each of them is good by itself."""
    messages = talk.messages
    roles = [message["role"] for message in messages]
    for index, message in enumerate(messages):
        if message["role"] == "system" and index > 0:
            yield make_problem(number, talk.paths[index], "late_system")
        elif message["role"] == "tool":
            yield from _check_tool_turn(talk, index, number)
        elif message["role"] == "assistant" and _is_empty(message):
            yield make_problem(number, talk.content_paths[index], "empty_answer")
    if "assistant" not in roles:
        yield make_problem(number, talk.root, "no_answer")
    elif "user" not in roles[: roles.index("assistant")]:
        yield make_problem(number, talk.paths[roles.index("assistant")], "answer_first")


def clean_messages(messages: Sequence[Message]) -> list[Message]:
    """Return good messages in canonical form: text contents, calls with parsed arguments."""
    cleaned = []
    for message in messages:
        kept = {key: value for key, value in message.items() if value is not None}
        kept.setdefault("content", "")
        calls = kept.pop("tool_calls", None)
        if calls:
            kept["tool_calls"] = [clean_call(call) for call in calls]
        cleaned.append(kept)
    return cleaned


def clean_call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a good call as chat templates read it: arguments are an object, not its JSON."""
    function = call.get("function", call)
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = parse_json(arguments) if arguments.strip() else {}
    made: dict[str, Any] = {
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments or {}},
    }
    return {"id": call["id"], **made} if call.get("id") else made


def check_calls(calls: object, path: str, number: int) -> Iterator[RowProblem]:
    """Tell what is wrong with a turn's tool calls."""
    if not isinstance(calls, list):
        yield make_problem(number, path, "bad_call", found=name_type(calls))
        return
    for index, call in enumerate(calls):
        at = f"{path}[{index}]"
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            yield make_problem(number, at, "bad_call", found=name_type(call))
            continue
        name, arguments = function.get("name"), function.get("arguments")
        if not isinstance(name, str) or not name.strip():
            yield make_problem(number, f"{at}.name", "bad_call", found=show_value(name))
        if isinstance(arguments, str):
            arguments = parse_json(arguments) if arguments.strip() else {}
        is_absent = arguments is None and function.get("arguments") is None
        if not is_absent and not isinstance(arguments, dict):
            found = show_value(function["arguments"])
            yield make_problem(number, f"{at}.arguments", "bad_call", found=found)
        elif "id" in call and not isinstance(call["id"], str | None):
            yield make_problem(number, f"{at}.id", "bad_call", found=name_type(call["id"]))
        elif bad := find_bad_text([name, arguments], at):
            yield make_problem(number, bad, "bad_text")


def check_tools(tools: object, path: str, number: int) -> Iterator[RowProblem]:
    """Tell what is wrong with the description of the tools; None and empty are none."""
    parsed = parse_json(tools) if isinstance(tools, str) and tools.strip() else tools or []
    if not isinstance(parsed, list):
        yield make_problem(number, path, "bad_tools", found=show_value(tools))
        return
    for index, tool in enumerate(parsed):
        at = f"{path}[{index}]"
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name.strip():
            yield make_problem(number, at, "bad_tools", found=name_type(tool))
        elif bad := find_bad_text(tool, at):
            yield make_problem(number, bad, "bad_text")


def clean_tools(tools: object) -> list[dict[str, Any]] | None:
    """Return good tools as chat templates read them; None where there are none."""
    parsed = parse_json(tools) if isinstance(tools, str) and tools.strip() else tools
    if not parsed or not isinstance(parsed, list):
        return None
    return [
        tool if "function" in tool else {"type": "function", "function": tool} for tool in parsed
    ]


def is_weight(value: object) -> bool:
    """Say whether a value may be a `loss_weight`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < 1e6 and math.isfinite(value)  # type: ignore[operator,arg-type]


def parse_json(text: str) -> Any:
    """Return the value of a JSON text, or None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_empty(message: Message) -> bool:
    return not (message.get("content") or "").strip() and not message.get("tool_calls")


def _check_tool_turn(talk: Talk, index: int, number: int) -> Iterator[RowProblem]:
    before = index - 1
    while before >= 0 and talk.messages[before]["role"] == "tool":
        before -= 1
    calls = talk.messages[before].get("tool_calls") if before >= 0 else None
    if not calls:
        yield make_problem(number, talk.paths[index], "stray_tool")
        return
    known = {call.get("id") for call in calls} - {None}
    answered = talk.messages[index].get("tool_call_id")
    if known and answered is not None and answered not in known:
        path = f"{talk.paths[index]}.tool_call_id"
        yield make_problem(number, path, "unknown_call", found=show_value(answered))
