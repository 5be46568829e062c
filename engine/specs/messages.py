"""The contract of a conversation file: one JSON object a line, in OpenAI `messages` form.

Every door that takes such a file (upload, launch, engine, command line) asks this one module, so
that a row is good everywhere or nowhere. A contract module: pydantic and the standard library only;
memory stays bounded. Format: https://platform.openai.com/docs/api-reference/chat.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from engine.specs.problems import (
    SENTENCES,
    RowProblem,
    find_bad_text,
    has_bad_text,
    make_problem,
    name_type,
    show_value,
)
from engine.specs.turns import (
    ROLES,
    Talk,
    check_calls,
    check_talk,
    check_tools,
    is_weight,
)

__all__ = [
    "MAX_LINE_BYTES",
    "ROLES",
    "SENTENCES",
    "RowProblem",
    "check_messages",
    "check_row",
    "check_turns",
    "estimate_row_tokens",
    "estimate_tokens",
    "iter_lines",
    "parse_object",
    "parse_row",
]

MAX_LINE_BYTES = 4 * 2**20


def estimate_tokens(text: str) -> int:
    """Guess how many tokens a text has, without a tokenizer.

    0.24 tokens for an ASCII character and 1.65 for any other: fitted on the shipped Chinese and
    English set under SmolLM2's vocabulary (49k entries). One with more Chinese needs fewer, so the
    guess errs high.
    """
    num_ascii = sum(map(str.isascii, text)) if not text.isascii() else len(text)
    return round(0.24 * num_ascii + 1.65 * (len(text) - num_ascii) + 0.5)


_TURN_TOKENS = 5  # <|im_start|>, role, newline, <|im_end|>, newline
_SYSTEM_TOKENS = 0  # a template's own system turn is the same in all rows: packed rows hold it once


def estimate_row_tokens(messages: list[dict[str, Any]]) -> tuple[int, int]:
    """Guess a row's tokens: all, and the supervised ones (assistant turns and their end)."""
    num_all = 0 if messages[0]["role"] == "system" else _SYSTEM_TOKENS
    num_supervised = 0
    for message in messages:
        num_content = estimate_tokens(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            num_content += estimate_tokens(json.dumps(call, ensure_ascii=False))
        num_all += num_content + _TURN_TOKENS
        if message["role"] == "assistant":
            num_supervised += num_content + 1
    return num_all, num_supervised


def parse_row(line: bytes, number: int) -> tuple[dict[str, Any] | None, list[RowProblem]]:
    """Read one line: the row where it is a JSON object, and everything wrong with it.

    Never raises, whatever the bytes. `number` is the line's number in the file, from 1.
    """
    row, problems = parse_object(line, number)
    if row is not None and not problems:
        problems = list(check_messages(row, number))
    return row, problems


def parse_object(line: bytes, number: int) -> tuple[dict[str, Any] | None, list[RowProblem]]:
    """Read one line as a JSON object of any format; never raises."""
    if len(line) > MAX_LINE_BYTES:
        params: dict[str, str | int] = {"bytes": len(line), "most": MAX_LINE_BYTES}
        return None, [make_problem(number, "", "line_too_long", **params)]
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        row = json.loads(text, parse_constant=refuse_constant)
    except UnicodeDecodeError as error:
        return None, [make_problem(number, "", "not_utf8", position=error.start)]
    except json.JSONDecodeError as error:
        return None, [make_problem(number, "", "not_json", column=error.colno, detail=error.msg)]
    except (ValueError, RecursionError):
        return None, [
            make_problem(number, "", "not_json", column=1, detail="not a plain JSON value")
        ]
    if not isinstance(row, dict):
        return None, [make_problem(number, "", "not_object", found=name_type(row))]
    return row, []


def check_row(line: bytes, number: int) -> list[RowProblem]:
    """Return everything wrong with one line; an empty list is a good row."""
    return parse_row(line, number)[1]


def iter_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a byte stream into lines without their ends (LF or CRLF), in bounded memory.

    Of a line over the limit only one byte more than the limit is kept: enough to be refused for it.
    """
    held = bytearray()
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            _hold(held, piece)
            yield bytes(held).removesuffix(b"\r")
            held.clear()
        _hold(held, rest)
    if held:
        yield bytes(held).removesuffix(b"\r")


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity: they are Python's, not JSON's."""
    raise ValueError(name)


def check_messages(row: dict[str, Any], number: int) -> Iterator[RowProblem]:
    """Tell everything that is wrong with an object in OpenAI `messages` form."""
    if "messages" not in row:
        yield make_problem(number, "messages", "missing")
        return
    found = list(check_turns(row["messages"], "messages", number))
    found += check_tools(row.get("tools"), "tools", number)
    yield from found
    if not found:
        talk = Talk("messages")
        for index, message in enumerate(row["messages"]):
            talk.add(message, f"messages[{index}]", f"messages[{index}].content")
        yield from check_talk(talk, number)


def check_turns(messages: object, root: str, number: int) -> Iterator[RowProblem]:
    """Tell what is wrong with the single turns of a list in OpenAI `messages` form."""
    if not isinstance(messages, list):
        yield make_problem(number, root, "not_list", found=name_type(messages))
    elif not messages:
        yield make_problem(number, root, "empty_list")
    else:
        for index, turn in enumerate(messages):
            yield from _check_turn(turn, f"{root}[{index}]", number)


def _hold(held: bytearray, piece: bytes) -> None:
    held += piece[: MAX_LINE_BYTES + 1 - len(held)]


def _check_turn(turn: object, path: str, number: int) -> Iterator[RowProblem]:
    if not isinstance(turn, dict):
        yield make_problem(number, path, "not_turn", found=name_type(turn))
        return
    role, content, calls = turn.get("role"), turn.get("content"), turn.get("tool_calls")
    may_be_silent = role == "assistant" and bool(calls) and content is None
    for key in ("role", "content"):
        if key not in turn and not (key == "content" and may_be_silent):
            yield make_problem(number, f"{path}.{key}", "missing")
    if "role" in turn and role not in ROLES:
        yield make_problem(number, f"{path}.role", "bad_role", found=show_value(role))
    if "content" in turn and not isinstance(content, str) and not may_be_silent:
        yield make_problem(number, f"{path}.content", "not_text", found=name_type(content))
    elif isinstance(content, str) and has_bad_text(content):
        yield make_problem(number, f"{path}.content", "bad_text")
    if calls and role != "assistant":
        yield make_problem(number, path, "misplaced_call")
    elif calls:
        yield from check_calls(calls, f"{path}.tool_calls", number)
    yield from _check_weight(turn, path, number)
    rest = {key: value for key, value in turn.items() if key not in _CHECKED}
    if bad := find_bad_text(rest, path):
        yield make_problem(number, bad, "bad_text")


_CHECKED = ("content", "tool_calls", "loss_weight")


def _check_weight(turn: dict[str, Any], path: str, number: int) -> Iterator[RowProblem]:
    weight = turn.get("loss_weight")
    if weight is None:
        return
    if not is_weight(weight):
        found = str(weight)[:40] if isinstance(weight, int | float) else show_value(weight)
        yield make_problem(number, f"{path}.loss_weight", "bad_weight", found=found)
    elif weight and turn.get("role") == "tool":
        yield make_problem(number, f"{path}.loss_weight", "weighted_tool")
