"""What can be wrong with a row of a dataset: stable codes, each with a problem and its mend.

A contract module: pydantic and the standard library only. The browser translates the codes
(frontend/src/i18n/zh/problems.ts).
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

Params = dict[str, str | int]


class RowProblem(BaseModel):
    """One thing wrong with one row, and how to mend it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    line: int
    """Line of the file from 1, or the row's number where the file has no lines."""
    field: str
    """Path of the field, such as `messages[2].content`; empty for the whole line."""
    code: str
    """Stable name of the problem; the browser translates it."""
    problem: str
    mend: str
    params: Params = {}
    """Names and numbers in the two sentences."""
    file: str = ""
    """Path below the dataset, where several files are told of together."""


class BrokenFile(ValueError):
    """A file of rows that cannot be read to its end; the message is a sentence that names it."""


class BadRow(Exception):
    """A row that does not fit its format, with everything that is wrong with it."""

    def __init__(self, problems: list[RowProblem]) -> None:
        super().__init__(" ".join(f"{p.problem} {p.mend}" for p in problems))
        self.problems = problems


# By code: what is wrong, and the mend. Both are whole sentences; braces are filled from the params.
MESSAGE_SENTENCES: dict[str, tuple[str, str]] = {
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
        "Use one of system, user, assistant and tool.",
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
    "stray_tool": (
        "`{field}` is the result of a tool that nobody called.",
        "Put an assistant turn with `tool_calls` before it.",
    ),
    "unknown_call": (
        "`{field}` is {found}, and no call before it has that id.",
        "Write the `id` of the call that it answers.",
    ),
    "bad_call": (
        "`{field}` is {found}, not the call of a function.",
        'Write {{"function": {{"name": "...", "arguments": {{...}}}}}}.',
    ),
    "misplaced_call": (
        "`{field}` has tool calls, and only an assistant's turn may have any.",
        "Move them to an assistant turn.",
    ),
    "bad_tools": (
        "`{field}` is {found}, not the description of a function.",
        'Write {{"type": "function", "function": {{"name": "...", "parameters": {{...}}}}}}.',
    ),
    "bad_weight": (
        "`{field}` is {found}, not a number from 0 on.",
        "Write a number such as 0, 0.5 or 1, or remove it.",
    ),
    "weighted_tool": (
        "`{field}` gives weight to a tool's result, which a model never writes.",
        "Remove it.",
    ),
}
FORMAT_SENTENCES: dict[str, tuple[str, str]] = {
    "not_row": (
        "The row is {found}, not an object.",
        "Write an object with the fields of the format.",
    ),
    "bad_bytes": (
        "`{field}` holds bytes that are not UTF-8.",
        "Save the file as UTF-8.",
    ),
    "bad_csv": (
        "The row is not CSV ({detail}).",
        "Put cells that hold commas, quotes or line ends into quotes.",
    ),
    "bad_width": (
        "The row has {found} cells and the header has {wanted}.",
        "Put cells that hold commas into quotes, or add what is missing.",
    ),
    "empty_text": (
        "`{field}` is empty, so there is nothing to learn.",
        "Write the text, or delete the row.",
    ),
    "bad_pair": (
        "`{field}` is {found}, not a question and its answer.",
        'Write ["question", "answer"].',
    ),
    "bad_speaker": (
        "`{field}` is {found}.",
        "Use one of system, human, gpt, function_call and observation.",
    ),
    "no_dialogue": (
        "`{field}` has no `### Human:` with an `### Assistant:` behind it.",
        "Write them before the turns, or name the format `text`.",
    ),
    "bad_chat": (
        "`{field}` is {found}, not the turns of a conversation.",
        'Write {{"turn_1": {{"Human": "...", "MOSS": "..."}}}}.',
    ),
    "bad_command": (
        "`{field}` is {found}, not a command.",
        'Write Name("argument"), or None.',
    ),
    "bad_answer": (
        "`{field}` is {found}, not an answer.",
        "Write text, or a list of messages that ends with the assistant's.",
    ),
    "no_prompt": (
        "`{field}` has no question that both answers share.",
        "Add `prompt`, or begin `chosen` and `rejected` with the same turns.",
    ),
    "same_answers": (
        "`{field}` is the same as `chosen`, so there is nothing to prefer.",
        "Write another answer, or delete the row.",
    ),
    "template_refused": (
        "The model's chat template refuses the row: {detail}.",
        "Change the row accordingly, or pick another model.",
    ),
}
SENTENCES: dict[str, tuple[str, str]] = {**MESSAGE_SENTENCES, **FORMAT_SENTENCES}


def make_problem(number: int, field: str, code: str, **params: str | int) -> RowProblem:
    """Word a problem of one row by its code."""
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


def bad_row(number: int, field: str, code: str, **params: str | int) -> BadRow:
    """Return the exception of a row with one problem."""
    return BadRow([make_problem(number, field, code, **params)])


def name_type(value: object) -> str:
    """Say what kind of value stands where another is wanted."""
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "a yes or no",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def show_value(value: object) -> str:
    """Return a short text as it stands, or the kind of any other value."""
    return repr(value)[:40] if isinstance(value, str) else name_type(value)


def has_bad_text(text: str) -> bool:
    """Say whether a text holds half of a surrogate pair, which no file and no model can take."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def find_bad_text(value: Any, path: str) -> str | None:
    """Return the path of the first bad text inside a JSON value; None where there is none."""
    if isinstance(value, str):
        return path if has_bad_text(value) else None
    if isinstance(value, dict):
        for key, inner in value.items():
            if has_bad_text(key):
                return path
            if found := find_bad_text(inner, f"{path}.{key}"):
                return found
    if isinstance(value, list):
        for index, inner in enumerate(value):
            if found := find_bad_text(inner, f"{path}[{index}]"):
                return found
    return None
