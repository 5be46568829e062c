"""Turns projects, rows and answers into what the API shows.

Answers to rank are shown in an order that differs from person to person but not from time to
time: people lean towards what stands first.
"""

import hashlib
from typing import Any

from studio.accounts.models import User
from studio.labelling.models import Answer, Draft, Drafting, Item, Project
from studio.labelling.results import FORMATS
from studio.labelling.selectors import (
    count_mine,
    find_draft,
    find_drafting,
    find_neighbours,
)
from studio.labelling.sources import SourceRow, read_source_row
from studio.labelling.verdicts import FIRST, SECOND

_MIRRORED = {FIRST: SECOND, SECOND: FIRST}


def show_project(project: Project, viewer: User) -> dict[str, Any]:
    """Return a project for a list."""
    names = (
        "id name kind dataset revision path num_rows num_annotators num_answers num_done is_open "
        "created_at updated_at"
    )
    body = {name: getattr(project, name) for name in names.split()}
    is_mine = project.owner_id == viewer.pk
    return body | {"owner": project.owner.username, "is_mine": is_mine}


def show_detail(project: Project, viewer: User) -> dict[str, Any]:
    """Return all that a project's page shows but the figures."""
    members = list(project.members.select_related("user"))
    drafting = find_drafting(project)
    return show_project(project, viewer) | {
        "instructions": project.instructions,
        "text_field": project.text_field,
        "labels": project.labels,
        "shows_names": project.shows_names,
        "needs_drafts": project.needs_drafts,
        "num_drafted": project.next_draft_row,
        "is_member": any(m.user_id == viewer.pk and m.is_active for m in members),
        "num_mine": count_mine(viewer, project),
        "formats": list(FORMATS[project.kind]),
        "members": [
            {"username": m.user.username, "is_active": m.is_active, "joined_at": m.joined_at}
            for m in members
        ],
        "drafting": drafting and show_drafting(drafting),
    }


def show_drafting(drafting: Drafting) -> dict[str, Any]:
    """Return a round of drafting."""
    names = (
        "id model state code message first_row next_row end_row num_made num_failed limit_mpoints "
        "spent_mpoints spent_ms created_at"
    )
    return {name: getattr(drafting, name) for name in names.split()}


def show_work(project: Project, viewer: User, answer: Answer) -> dict[str, Any]:
    """Return a row with what its person has said of it."""
    source = read_source_row(project, answer.row)
    draft = find_draft(project, answer.row)
    before, after = find_neighbours(viewer, project, answer.row)
    is_mirrored = shows_mirrored(project, answer.row, viewer)
    answers, drafted = _list_answers(source, draft)
    if is_mirrored:
        answers, drafted = answers[::-1], drafted[::-1]
    return _show_source(source) | {
        "state": answer.state,
        "revision": answer.revision,
        "verdict": turn_verdict(answer.verdict, is_mirrored),
        "answers": answers,
        "drafted": drafted,
        "problems": [problem.model_dump() for problem in source.problems],
        "draft": draft and {"model": draft.model, "text": draft.text, "spans": draft.spans},
        "edited": answer.content.get("messages"),
        "spans": answer.content.get("spans", []),
        "reason": answer.reason,
        "unsent": answer.unsent,
        "expires_at": answer.expires_at,
        "before": before,
        "after": after,
    }


def show_row(project: Project, row: int) -> dict[str, Any]:
    """Return a row as its owner sees it: answers in the order of the file."""
    source = read_source_row(project, row)
    return _show_source(source) | {"answers": _list_answers(source, find_draft(project, row))[0]}


def show_dispute(item: Item) -> dict[str, Any]:
    """Return a row whose answers differ."""
    decision = item.decision and _show_said(
        item.decision["verdict"], item.decision["reason"], item.decision["content"]
    )
    answers = [
        _show_said(answer.verdict, answer.reason, answer.content)
        | {"username": answer.annotator.username, "at": answer.done_at}
        for answer in item.answers.all()
    ]
    return {"row": item.row, "answers": answers, "decision": decision}


def shows_mirrored(project: Project, row: int, viewer: User) -> bool:
    """Say whether somebody sees the two answers of a row in the other order."""
    text = f"{project.pk}:{row}:{viewer.pk}"
    return bool(hashlib.sha256(text.encode()).digest()[0] & 1)


def turn_verdict(verdict: str, is_mirrored: bool) -> str:
    """Return a verdict about the answers in their other order."""
    return _MIRRORED.get(verdict, verdict) if is_mirrored else verdict


def _show_source(source: SourceRow) -> dict[str, Any]:
    return {
        "row": source.index,
        "line": source.line,
        "messages": source.messages,
        "prompt": source.pair.prompt if source.pair else None,
        "text": source.text,
        "raw": source.raw,
    }


def _list_answers(source: SourceRow, draft: Draft | None) -> tuple[list[str], list[bool]]:
    answers = list(source.pair.answers) if source.pair else []
    drafted = [False] * len(answers)
    if len(answers) == 1 and draft is not None:
        return [*answers, draft.text], [*drafted, True]
    return answers, drafted


def _show_said(verdict: str, reason: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "reason": reason,
        "messages": content.get("messages"),
        "spans": content.get("spans", []),
    }
