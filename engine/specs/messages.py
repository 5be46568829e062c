"""The contract of a conversation file: one JSON object a line, in OpenAI `messages` form.

Every door that takes such a file (upload, launch, engine, command line) asks this one module, so
that a row is good everywhere or nowhere. A contract module: pydantic and the standard library only;
memory stays bounded. Format: https://platform.openai.com/docs/api-reference/chat.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

MAX_LINE_BYTES = 4 * 2**20
MAX_PROBLEMS = 200
ROLES = ("system", "user", "assistant")


class RowProblem(BaseModel):
    """One thing wrong with one row, and how to mend it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    line: int
    """Line of the file, from 1."""
    field: str
    """Path of the field, such as `messages[2].content`; empty for the whole line."""
    code: str
    """Stable name of the problem; the browser translates it."""
    problem: str
    mend: str
    params: dict[str, str | int] = {}
    """Names and numbers in the two sentences."""


class DatasetReport(BaseModel):
    """What a check of a whole file found."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    num_rows: int
    """Rows of the file; blank lines do not count."""
    num_good: int
    num_bad: int
    num_problems: int
    problems: list[RowProblem]
    """The first 200, in the order of the file."""
    num_tokens_estimate: int
    num_supervised_tokens_estimate: int
    longest_tokens_estimate: int


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
        num_content = estimate_tokens(message["content"])
        num_all += num_content + _TURN_TOKENS
        if message["role"] == "assistant":
            num_supervised += num_content + 1
    return num_all, num_supervised


def parse_row(line: bytes, number: int) -> tuple[dict[str, Any] | None, list[RowProblem]]:
    """Read one line: the row where it is a JSON object, and everything wrong with it.

    Never raises, whatever the bytes. `number` is the line's number in the file, from 1.
    """
    if len(line) > MAX_LINE_BYTES:
        params: dict[str, str | int] = {"bytes": len(line), "most": MAX_LINE_BYTES}
        return None, [_problem(number, "", "line_too_long", **params)]
    try:
        row = json.loads(
            line.decode("utf-8-sig" if number == 1 else "utf-8"), parse_constant=_refuse
        )
    except UnicodeDecodeError as error:
        return None, [_problem(number, "", "not_utf8", position=error.start)]
    except json.JSONDecodeError as error:
        return None, [_problem(number, "", "not_json", column=error.colno, detail=error.msg)]
    except (ValueError, RecursionError):
        return None, [_problem(number, "", "not_json", column=1, detail="not a plain JSON value")]
    if not isinstance(row, dict):
        return None, [_problem(number, "", "not_object", found=_name_type(row))]
    return row, list(_check_messages(row, number))


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


def check_lines(lines: Iterable[bytes]) -> DatasetReport:
    """Check a whole file, one line at a time."""
    problems: list[RowProblem] = []
    num_rows = num_good = num_problems = num_all = num_supervised = longest = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        num_rows += 1
        row, found = parse_row(line, number)
        num_problems += len(found)
        problems += found[: MAX_PROBLEMS - len(problems)]
        if row is not None and not found:
            num_good += 1
            tokens, supervised = estimate_row_tokens(row["messages"])
            num_all, num_supervised = num_all + tokens, num_supervised + supervised
            longest = max(longest, tokens)
    return DatasetReport(
        num_rows=num_rows,
        num_good=num_good,
        num_bad=num_rows - num_good,
        num_problems=num_problems,
        problems=problems,
        num_tokens_estimate=num_all,
        num_supervised_tokens_estimate=num_supervised,
        longest_tokens_estimate=longest,
    )


# By code: what is wrong, and the mend. Both are whole sentences; braces are filled from the params.
SENTENCES: dict[str, tuple[str, str]] = {
    "line_too_long": (
        "The line has more than {most} bytes.",
        "Split the conversation into several rows.",
    ),
    "not_utf8": (
        "Byte {position} of the line is not UTF-8.",
        "Save the file as UTF-8.",
    ),
    "not_json": (
        "The line is not JSON (column {column}: {detail}).",
        "Write one JSON object on each line.",
    ),
    "not_object": (
        "The line holds {found}, not an object.",
        'Write {{"messages": [...]}}.',
    ),
    "missing": (
        "`{field}` is missing.",
        "Add `{field}`.",
    ),
    "not_list": (
        "`{field}` is {found}, not a list.",
        "Write a list of turns, each with a role and a content.",
    ),
    "empty_list": (
        "`{field}` is empty.",
        "Add a user turn and an assistant turn, or delete the row.",
    ),
    "not_turn": (
        "`{field}` is {found}, not an object.",
        'Write {{"role": "user", "content": "..."}}.',
    ),
    "bad_role": (
        "`{field}` is {found}.",
        "Use one of system, user and assistant.",
    ),
    "not_text": (
        "`{field}` is {found}, not text.",
        "Write the content as one string.",
    ),
    "bad_text": (
        "`{field}` holds half of a surrogate pair, which is no character.",
        "Write the character itself, or its whole pair.",
    ),
    "empty_answer": (
        "`{field}` is empty, so there is nothing to learn.",
        "Write the answer, or delete the row.",
    ),
    "late_system": (
        "`{field}` is a system turn that is not the first.",
        "Move it to the front.",
    ),
    "no_answer": (
        "`{field}` has no assistant turn, so there is nothing to learn.",
        "Add the answer, or delete the row.",
    ),
    "answer_first": (
        "`{field}` answers before anybody asked.",
        "Put a user turn before it.",
    ),
}


def _problem(number: int, field: str, code: str, **params: str | int) -> RowProblem:
    problem, mend = SENTENCES[code]
    filled = {"field": field, **params}
    return RowProblem(
        line=number,
        field=field,
        code=code,
        problem=problem.format(**filled),
        mend=mend.format(**filled),
        params=params,
    )


def _refuse(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _hold(held: bytearray, piece: bytes) -> None:
    held += piece[: MAX_LINE_BYTES + 1 - len(held)]


def _name_type(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "a yes or no",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _check_messages(row: dict[str, Any], number: int) -> Iterator[RowProblem]:
    if "messages" not in row:
        yield _problem(number, "messages", "missing")
        return
    messages = row["messages"]
    if not isinstance(messages, list):
        yield _problem(number, "messages", "not_list", found=_name_type(messages))
        return
    if not messages:
        yield _problem(number, "messages", "empty_list")
        return
    found = [
        problem
        for index, turn in enumerate(messages)
        for problem in _check_turn(turn, index, number)
    ]
    yield from found
    if found:
        return
    roles = [turn["role"] for turn in messages]
    if "assistant" not in roles:
        yield _problem(number, "messages", "no_answer")
    elif "user" not in roles[: roles.index("assistant")]:
        yield _problem(number, f"messages[{roles.index('assistant')}]", "answer_first")


def _check_turn(turn: object, index: int, number: int) -> Iterator[RowProblem]:
    path = f"messages[{index}]"
    if not isinstance(turn, dict):
        yield _problem(number, path, "not_turn", found=_name_type(turn))
        return
    for key in ("role", "content"):
        if key not in turn:
            yield _problem(number, f"{path}.{key}", "missing")
    role, content = turn.get("role"), turn.get("content")
    if "role" in turn and role not in ROLES:
        found = repr(role)[:40] if isinstance(role, str) else _name_type(role)
        yield _problem(number, f"{path}.role", "bad_role", found=found)
    if role == "system" and index > 0:
        yield _problem(number, path, "late_system")
    if "content" in turn and not isinstance(content, str):
        yield _problem(number, f"{path}.content", "not_text", found=_name_type(content))
    elif isinstance(content, str):
        yield from _check_text(content, role, f"{path}.content", number)


def _check_text(content: str, role: object, path: str, number: int) -> Iterator[RowProblem]:
    if any("\ud800" <= character <= "\udfff" for character in content):
        yield _problem(number, path, "bad_text")
    elif role == "assistant" and not content.strip():
        yield _problem(number, path, "empty_answer")
