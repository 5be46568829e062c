"""What all answers to a row come to, and the files made of it, streamed row by row.

A row that nothing changes is copied byte for byte, line end and all. Memory stays bounded however
long the file is: source, answers and decisions are read side by side, in the order of the rows.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple

from engine.specs.messages import MAX_LINE_BYTES
from studio.core.errors import BadInput
from studio.labelling.models import Answer, AnswerState, Item, Project, TaskKind
from studio.labelling.sources import SourceRow, see_line
from studio.labelling.verdicts import (
    ACCEPT,
    BOTH_BAD,
    EDIT,
    FIRST,
    REJECT,
    SECOND,
    TAGGED,
    TIE,
    edit_row,
)

SFT, PREFERENCE, SPANS = "sft", "preference", "spans"
FORMATS = {
    TaskKind.REVIEW.value: (SFT, PREFERENCE),
    TaskKind.RANK.value: (PREFERENCE, SFT),
    TaskKind.SPANS.value: (SPANS,),
}
KEEP, DROP = "keep", "drop"
_PIECE_BYTES = 2**16
_CHUNK_ROWS = 2000


class DoneAnswer(NamedTuple):
    """What somebody said of a row."""

    row: int
    annotator_id: int
    verdict: str
    content: dict[str, Any]
    reason: str
    key: str
    done_at: datetime | None


@dataclass(frozen=True)
class Outcome:
    """What a row came to. `verdict` is empty where its answers do not settle it."""

    verdict: str
    content: dict[str, Any] = field(default_factory=dict)
    how: str = "none"
    """`agreed`, `majority`, `decided`, `undecided` or `none`."""
    answers: tuple[DoneAnswer, ...] = ()
    item: Item | None = None


@dataclass
class Line:
    """A line of the source; only its head is in memory, and of a good row that is all of it."""

    number: int
    head: bytes
    rest: Iterator[bytes]

    @property
    def ending(self) -> bytes:
        """Return the line's end as it is."""
        if self.head.endswith(b"\r\n"):
            return b"\r\n"
        return b"\n" if self.head.endswith(b"\n") else b""


def check_format(kind: str, wanted: str) -> str:
    """Return a format that a kind of task can be exported in.

    Raises:
        BadInput: it cannot; the sentence says what can.
    """
    known = FORMATS[kind]
    if wanted not in known:
        message = f"format: {wanted[:40]!r} is none for {kind}; choose {' or '.join(known)}."
        raise BadInput(message, field="format", code="bad_format", known=", ".join(known))
    return wanted


def settle(project: Project, answers: Iterable[DoneAnswer], item: Item | None) -> Outcome:
    """Return what the answers to one row come to: the owner's decision, else the majority's.

    Of spans, each is kept that more than half of the annotators tagged.
    """
    said = tuple(answers)
    if item is not None and item.decision is not None:
        decision = item.decision
        return Outcome(decision["verdict"], decision["content"], "decided", said, item)
    if not said:
        return Outcome("", answers=said, item=item)
    keys = Counter(answer.key for answer in said)
    how = "agreed" if len(keys) == 1 else "majority"
    if project.kind == TaskKind.SPANS and how == "majority":
        return Outcome(TAGGED, {"spans": _vote_spans(said)}, how, said, item)
    (first, most), *others = keys.most_common(2)
    if others and others[0][1] == most:
        return Outcome("", how="undecided", answers=said, item=item)
    winner = next(answer for answer in said if answer.key == first)
    return Outcome(winner.verdict, winner.content, how, said, item)


def list_outcomes(project: Project) -> Iterator[tuple[int, Outcome]]:
    """Yield row and outcome of every row that has answers, in the order of the file."""
    done = Answer.objects.filter(project=project, state=AnswerState.DONE)
    columns = done.order_by("row", "pk").values_list(*DoneAnswer._fields)
    answers = map(DoneAnswer._make, columns.iterator(_CHUNK_ROWS))  # rows of models cost thrice
    settled = project.items.filter(decided_at__isnull=False).order_by("row")
    decided = settled.iterator(_CHUNK_ROWS)
    item = next(decided, None)
    for row, group in groupby(answers, key=lambda answer: answer.row):
        while item is not None and item.row < row:
            item = next(decided, None)
        yield row, settle(project, group, item if item is not None and item.row == row else None)


def list_lines(file: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a file with their ends; one over the limit comes in pieces."""
    number = 1
    while head := file.readline(MAX_LINE_BYTES + 2):
        rest = _rest_of_line(file, head)
        yield Line(number, head, rest)
        for _ in rest:  # what nobody copied is passed over
            pass
        number += 1


@dataclass
class Writing:
    """One pass over a project's file: what is written, where to, and the drafts near by."""

    project: Project
    to: BinaryIO
    wanted: str
    rest: str
    """Whether rows that nothing settled stay: `keep` or `drop`."""
    _drafts: dict[int, str] = field(default_factory=dict)
    _drafts_until: int = 0

    @property
    def keeps_rest(self) -> bool:
        """Say whether rows may stay as they are."""
        return self.rest == KEEP and is_same_shape(self.project, self.wanted)

    def find_draft(self, row: int) -> str | None:
        """Return the model's text for a row; rows are asked for in order, and read in hundreds."""
        if row >= self._drafts_until:
            self._drafts_until = row + _CHUNK_ROWS
            near = self.project.drafts.filter(row__gte=row, row__lt=self._drafts_until, error="")
            self._drafts = dict(near.values_list("row", "text"))
        return self._drafts.get(row)


def write_rows(writing: Writing, source: BinaryIO) -> Iterator[tuple[int, Line, Outcome, bool]]:
    """Write the rows; yield row, line, outcome and whether it is in, up to the last."""
    outcomes = list_outcomes(writing.project)
    following = next(outcomes, None)
    index = 0
    for line in list_lines(source):
        if not line.head.strip():
            if writing.keeps_rest:
                _copy(line, writing.to)
            continue
        outcome = Outcome("")
        if following is not None and following[0] == index:
            outcome = following[1]
            following = next(outcomes, None)
        yield index, line, outcome, _write_row(writing, index, line, outcome)
        index += 1


def is_same_shape(project: Project, wanted: str) -> bool:
    """Say whether a format's rows look like the source's, so that rows can stay as they are."""
    if project.kind == TaskKind.RANK:
        return wanted == PREFERENCE and not project.needs_drafts
    return wanted != PREFERENCE


def _write_row(writing: Writing, index: int, line: Line, outcome: Outcome) -> bool:
    project, wanted, verdict = writing.project, writing.wanted, outcome.verdict
    if not verdict:
        return writing.keeps_rest and _copy(line, writing.to)
    if wanted == SFT and verdict == ACCEPT:
        return _copy(line, writing.to)
    if verdict in {REJECT, BOTH_BAD} or (wanted == PREFERENCE and verdict == TIE):
        return False
    seen = see_line(project, index, line.number, line.head.rstrip(b"\r\n"))
    if seen.row is None and verdict != EDIT:
        return writing.keeps_rest and _copy(line, writing.to)
    is_chosen = seen.pair is not None and seen.pair.form == "chosen"
    if wanted == PREFERENCE and verdict == FIRST and is_chosen:
        return _copy(line, writing.to)
    made = _MAKERS[project.kind, wanted](writing, seen, outcome)
    if made is None:
        return False
    writing.to.write(made + (line.ending if is_same_shape(project, wanted) else b"\n"))
    return True


def _make_edited(writing: Writing, seen: SourceRow, outcome: Outcome) -> bytes | None:
    return edit_row(seen.row, outcome.content["messages"])


def _make_preference_of_edit(writing: Writing, seen: SourceRow, outcome: Outcome) -> bytes | None:
    """An answer that somebody rewrote is better than what it was."""
    edited = outcome.content.get("messages") if outcome.verdict == EDIT else None
    old = seen.messages
    if not edited or not old or edited[:-1] != old[:-1] or edited == old:
        return None
    if edited[-1]["role"] != "assistant":
        return None
    return _dump({"prompt": old[:-1], "chosen": [edited[-1]], "rejected": [old[-1]]})


def _make_preference(writing: Writing, seen: SourceRow, outcome: Outcome) -> bytes | None:
    row, pair = seen.row, seen.pair
    texts = _list_texts(writing, seen)
    if row is None or pair is None or len(texts) < 2:
        return None
    order = texts if outcome.verdict == FIRST else texts[::-1]
    if pair.form == "chosen" and outcome.verdict == SECOND:
        return _dump({**row, "chosen": row["rejected"], "rejected": row["chosen"]})
    if isinstance(row.get("prompt"), str):
        return _dump({"prompt": row["prompt"], "chosen": order[0], "rejected": order[1]})
    turns = [[{"role": "assistant", "content": text}] for text in order]
    return _dump({"prompt": pair.prompt, "chosen": turns[0], "rejected": turns[1]})


def _make_winner(writing: Writing, seen: SourceRow, outcome: Outcome) -> bytes | None:
    texts = _list_texts(writing, seen)
    if seen.pair is None or len(texts) < 2:
        return None
    text = texts[1] if outcome.verdict == SECOND else texts[0]
    return _dump({"messages": [*seen.pair.prompt, {"role": "assistant", "content": text}]})


def _make_tagged(writing: Writing, seen: SourceRow, outcome: Outcome) -> bytes | None:
    text = seen.text or ""
    spans = [
        {**span, "text": text[span["start"] : span["end"]]}
        for span in outcome.content.get("spans", [])
    ]
    return _dump({**(seen.row or {}), "spans": spans})


_MAKERS = {
    (TaskKind.REVIEW.value, SFT): _make_edited,
    (TaskKind.REVIEW.value, PREFERENCE): _make_preference_of_edit,
    (TaskKind.RANK.value, PREFERENCE): _make_preference,
    (TaskKind.RANK.value, SFT): _make_winner,
    (TaskKind.SPANS.value, SPANS): _make_tagged,
}


def _list_texts(writing: Writing, seen: SourceRow) -> list[str]:
    """Return the two answers of a row; the second may be a model's."""
    answers = seen.pair.answers if seen.pair else []
    if len(answers) != 1:
        return answers
    draft = writing.find_draft(seen.index)
    return answers if draft is None else [*answers, draft]


def _vote_spans(answers: tuple[DoneAnswer, ...]) -> list[dict[str, Any]]:
    votes = Counter(
        (span["start"], span["end"], span["label"])
        for answer in answers
        for span in answer.content.get("spans", [])
    )
    return [
        {"start": start, "end": end, "label": label}
        for (start, end, label), count in sorted(votes.items())
        if 2 * count > len(answers)
    ]


def _rest_of_line(file: BinaryIO, head: bytes) -> Iterator[bytes]:
    piece = head
    while not piece.endswith(b"\n") and (piece := file.readline(_PIECE_BYTES)):
        yield piece


def _copy(line: Line, to: BinaryIO) -> bool:
    to.write(line.head)
    for piece in line.rest:
        to.write(piece)
    return True


def _dump(row: dict[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair somewhere in the row
        return json.dumps(row).encode()
