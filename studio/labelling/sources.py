"""The rows of a project's pinned file, and how each kind of task reads one.

Only the row that is shown is read: the hub's marks say where it begins.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from engine.specs.messages import RowProblem, parse_row
from studio.core.errors import BadInput, Conflict, NotFound
from studio.hub.access import may_read
from studio.hub.models import Blob
from studio.hub.reports import get_report
from studio.hub.rows import Row, read_rows
from studio.hub.selectors import get_file
from studio.labelling.models import Project, TaskKind

_MOST_RAW = 4000  # characters of a row that is shown as it is
_PROBED_ROWS = 20
Turns = list[dict[str, str]]


@dataclass(frozen=True)
class Pair:
    """A question and the answers to rank: one where a model shall give the second."""

    prompt: Turns
    answers: list[str]
    form: str
    """What the row looks like: `chosen`, `answers` or `messages`."""


@dataclass(frozen=True)
class SourceRow:
    """A row as a task sees it. What the task cannot read of it is empty."""

    index: int
    line: int
    row: dict[str, Any] | None
    raw: str | None
    problems: list[RowProblem] = field(default_factory=list)
    messages: Turns | None = None
    pair: Pair | None = None
    text: str | None = None


def get_source_blob(project: Project) -> Blob:
    """Return the file that a project labels.

    Raises:
        Conflict: `dataset_gone`, where it was deleted or its owner may not see it any more.
    """
    commit = project.commit
    if commit is None or not may_read(project.owner, commit.repo):
        message = (
            f"The dataset {project.dataset} was deleted or is not {project.owner.username}'s to "
            "see any more. The answers are kept: export needs it back."
        )
        raise Conflict(message, code="dataset_gone", dataset=project.dataset)
    return get_file(commit, project.path).blob


def read_source_row(project: Project, index: int) -> SourceRow:
    """Return one row of a project's file.

    Raises:
        NotFound: the file has no such row.
        Conflict: the dataset is gone.
    """
    found = list_source_rows(project, index, 1) if index < project.num_rows else []
    if not found:
        raise NotFound
    return found[0]


def list_source_rows(project: Project, first: int, limit: int) -> list[SourceRow]:
    """Return some rows of a project's file; fewer at its end, or where they are very large."""
    page = read_rows(get_source_blob(project), offset=first, limit=limit)
    return [
        _see(project.kind, project.text_field, first + i, row) for i, row in enumerate(page.rows)
    ]


def see_line(project: Project, index: int, number: int, line: bytes) -> SourceRow:
    """Return what a task sees in a line of the file, without reading the hub."""
    row, problems = parse_row(line, number)
    raw = None if row is not None else line.decode("utf-8", "replace")
    return _see(project.kind, project.text_field, index, Row(number, row, raw, problems))


def count_rows(blob: Blob) -> int:
    """Return how many rows a file has; the check behind it is made once per content."""
    return int(get_report(blob).body["num_rows"])


def check_suits(kind: str, text_field: str, blob: Blob) -> bool:
    """Prove on the first rows that a task can read them; return whether answers are missing.

    Raises:
        BadInput: none of them is what the task needs; the sentence says what that is.
    """
    rows = read_rows(blob, offset=0, limit=_PROBED_ROWS).rows
    seen = [_see(kind, text_field, index, row) for index, row in enumerate(rows)]
    if kind == TaskKind.SPANS and not any(row.text is not None for row in seen):
        names = ", ".join(dict.fromkeys(name for row in rows for name in row.row or {})) or "none"
        message = (
            f"text_field: no row has a text at {text_field!r}; name a field that holds one, such "
            f"as text or messages.1.content. The rows have: {names[:300]}."
        )
        raise BadInput(message, field="text_field", code="no_such_text", found=names[:300])
    if kind == TaskKind.RANK and not any(row.pair for row in seen):
        message = (
            "kind: the rows hold no answers to rank; give them prompt, chosen and rejected, or "
            "prompt and answers, or a conversation whose second answer a model shall give."
        )
        raise BadInput(message, field="kind", code="nothing_to_rank")
    if kind == TaskKind.REVIEW and not any(row.messages for row in seen):
        message = "kind: the rows hold no conversations to review: give them a list `messages`."
        raise BadInput(message, field="kind", code="nothing_to_review")
    return kind == TaskKind.RANK and not any(row.pair and len(row.pair.answers) > 1 for row in seen)


def find_text(row: dict[str, Any], path: str) -> str | None:
    """Return the text at a dotted path, such as `messages.1.content`; None for no text."""
    value: Any = row
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value if isinstance(value, str) else None


def read_pair(row: dict[str, Any]) -> Pair | None:
    """Return the question and answers of a row; None where there is nothing to rank."""
    prompt = _read_turns(row.get("prompt"), "user")
    if prompt and "chosen" in row and "rejected" in row:
        both = [_read_turns(row[name], "assistant") for name in ("chosen", "rejected")]
        texts = [turns[-1]["content"] for turns in both if turns]
        return Pair(prompt, texts, "chosen") if len(texts) == 2 else None
    answers = row.get("answers")
    if prompt and isinstance(answers, list) and answers:
        texts = [text for text in answers if isinstance(text, str)][:2]
        return Pair(prompt, texts, "answers") if texts else None
    turns = _read_turns(row.get("messages"), "user") or []
    last = find_last_answer(turns)
    if last is None or last == 0:
        return None
    return Pair(turns[:last], [turns[last]["content"]], "messages")


def find_last_answer(turns: Turns) -> int | None:
    """Return where the last assistant turn stands; None for none."""
    places = [index for index, turn in enumerate(turns) if turn["role"] == "assistant"]
    return places[-1] if places else None


def _see(kind: str, text_field: str, index: int, row: Row) -> SourceRow:
    content = row.row
    messages = pair = text = None
    if content is not None and kind == TaskKind.SPANS:
        text = find_text(content, text_field)
    elif content is not None and kind == TaskKind.RANK:
        pair = read_pair(content)
    elif content is not None:
        messages = _read_turns(content.get("messages"), "user")
    raw = row.raw
    if content is not None and messages is None and pair is None and text is None:
        raw = json.dumps(content, ensure_ascii=False)[:_MOST_RAW]
    return SourceRow(
        index, row.line, content, raw, row.problems, messages=messages, pair=pair, text=text
    )


def _read_turns(value: Any, role: str) -> Turns | None:
    """Return turns: a text alone is one turn of that role; None for what is neither."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        return None
    turns = []
    for turn in value:
        if not isinstance(turn, dict):
            return None
        who, said = turn.get("role"), turn.get("content")
        if not isinstance(who, str) or not isinstance(said, str):
            return None
        turns.append({"role": who, "content": said})
    return turns
