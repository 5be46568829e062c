"""What may be answered to a row, per kind of task; each refusal names the field and the mend.

Spans count Unicode code points, half-open: `text[start:end]` in Python. They may overlap.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.specs.messages import check_row
from studio.core.errors import BadInput
from studio.labelling.models import Project, TaskKind
from studio.labelling.sources import SourceRow

ACCEPT, REJECT, EDIT = "accept", "reject", "edit"
FIRST, SECOND, TIE, BOTH_BAD = "first", "second", "tie", "both_bad"
TAGGED = "tagged"
VERDICTS = {
    TaskKind.REVIEW.value: (ACCEPT, REJECT, EDIT),
    TaskKind.RANK.value: (FIRST, SECOND, TIE, BOTH_BAD),
    TaskKind.SPANS.value: (TAGGED,),
}
MOST_SPANS = 1000
MOST_REASON = 4000


@dataclass(frozen=True)
class Said:
    """A verdict with what belongs to it."""

    verdict: str
    content: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def key(self) -> str:
        """Return what is equal for equal answers, whatever their reasons."""
        said = {name: value for name, value in self.content.items() if name != "from_draft"}
        if not said:
            return self.verdict
        text = json.dumps(said, sort_keys=True, ensure_ascii=False)
        return f"{self.verdict}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def check_said(project: Project, source: SourceRow, wish: dict[str, Any]) -> Said:
    """Return an answer as it is kept.

    Raises:
        BadInput: it is not one to this kind of task, or its content does not fit the row.
    """
    verdict = wish.get("verdict", "")
    known = VERDICTS[project.kind]
    if verdict not in known:
        message = f"verdict: {str(verdict)[:40]!r} is none here; choose one of {', '.join(known)}."
        raise BadInput(message, field="verdict", code="bad_verdict", known=", ".join(known))
    content = _CHECKS[project.kind](project, source, verdict, wish)
    return Said(verdict, content, str(wish.get("reason") or "")[:MOST_REASON])


def check_spans(spans: list[dict[str, Any]], text: str, labels: list[str]) -> list[dict[str, Any]]:
    """Return spans in the order of the text, each once.

    Raises:
        BadInput: one lies outside of the text, is empty, or has a label of no set.
    """
    if len(spans) > MOST_SPANS:
        message = f"spans: {len(spans)} are too many; a row takes {MOST_SPANS} at most."
        raise BadInput(message, field="spans", code="too_many_spans", most=MOST_SPANS)
    kept = set()
    for index, span in enumerate(spans):
        start, end, label = span["start"], span["end"], span["label"]
        if not 0 <= start < end <= len(text):
            message = (
                f"spans[{index}]: {start} to {end} is no part of a text of {len(text)} characters; "
                "start before the end, and end within the text."
            )
            raise BadInput(message, field=f"spans[{index}]", code="bad_span", length=len(text))
        if label not in labels:
            message = f"spans[{index}].label: {label[:80]!r} is none of {', '.join(labels)}."
            raise BadInput(message, field=f"spans[{index}].label", code="bad_label")
        kept.add((start, end, label))
    return [
        {"start": start, "end": end, "label": label}
        for start, end, label in sorted(kept, key=lambda span: (span[0], -span[1], span[2]))
    ]


def edit_row(row: dict[str, Any] | None, messages: Any) -> bytes:
    """Return a row with other messages, as the line it becomes.

    Other fields stay as they are: the row's, and a turn's where its role is the same.
    """
    old = (row or {}).get("messages")
    if isinstance(messages, list) and isinstance(old, list):
        messages = [_keep_fields(old, index, turn) for index, turn in enumerate(messages)]
    edited = {**(row or {}), "messages": messages}
    try:
        return json.dumps(edited, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair in a field that nobody edits
        return json.dumps(edited).encode()


def _keep_fields(old: list[Any], index: int, turn: Any) -> Any:
    was = old[index] if index < len(old) else None
    if isinstance(was, dict) and isinstance(turn, dict) and was.get("role") == turn.get("role"):
        return {**was, **turn}
    return turn


def _check_review(
    project: Project, source: SourceRow, verdict: str, wish: dict[str, Any]
) -> dict[str, Any]:
    if verdict != EDIT:
        return {}
    problems = check_row(edit_row(source.row, wish.get("messages")), source.line)
    if problems:
        first = problems[0]
        message = f"{first.field or 'messages'}: {first.problem} {first.mend}"
        raise BadInput(
            message,
            field=first.field or "messages",
            code="bad_edit",
            problems=[problem.model_dump() for problem in problems[:20]],
        )
    kept = {"messages": wish["messages"]}
    return kept | ({"from_draft": True} if wish.get("from_draft") else {})


def _check_rank(
    project: Project, source: SourceRow, verdict: str, wish: dict[str, Any]
) -> dict[str, Any]:
    answers = source.pair.answers if source.pair else []
    drafts = project.drafts.filter(row=source.index, error="")
    if len(answers) < 2 and not (answers and drafts.exists()):
        message = "verdict: this row has no two answers to choose from; skip it."
        raise BadInput(message, field="verdict", code="no_two_answers")
    return {}


def _check_tagged(
    project: Project, source: SourceRow, verdict: str, wish: dict[str, Any]
) -> dict[str, Any]:
    spans = wish.get("spans")
    if spans is None:
        message = "spans: send a list; an empty one says that there is nothing to tag."
        raise BadInput(message, field="spans", code="spans_missing")
    if source.text is None and spans:
        raise BadInput("spans: this row has no text to tag.", field="spans", code="no_text")
    kept = check_spans(spans, source.text or "", project.labels)
    return {"spans": kept} | ({"from_draft": True} if wish.get("from_draft") else {})


_CHECKS: dict[str, Callable[[Project, SourceRow, str, dict[str, Any]], dict[str, Any]]] = {
    TaskKind.REVIEW.value: _check_review,
    TaskKind.RANK.value: _check_rank,
    TaskKind.SPANS.value: _check_tagged,
}
