"""Saves a project's results: a new revision of its dataset, a new dataset, or a file to download.

Beside the rows goes `athanor-labels.json`: who said what of which row, and when.
"""

import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import yaml
from django.db import transaction
from django.utils import timezone

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import BadInput, Conflict
from studio.hub.access import check_may_write
from studio.hub.blobs import store_blob
from studio.hub.content import open_blob
from studio.hub.models import Blob, Commit, CommitFile, Kind, Visibility
from studio.hub.reports import get_report
from studio.hub.services import (
    Changes,
    RepoName,
    Words,
    commit_files,
    create_repo,
)
from studio.labelling.models import Project
from studio.labelling.results import (
    KEEP,
    Line,
    Outcome,
    Writing,
    check_format,
    is_same_shape,
    write_rows,
)
from studio.labelling.selectors import get_figures
from studio.labelling.services import check_owner
from studio.labelling.sources import get_source_blob

LABELS_FILE = "athanor-labels.json"
DATA_FILE = "train.jsonl"
_SPOOL_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Wish:
    """What shall be written, and where to."""

    format: str
    rest: str = KEEP
    """`keep` or `drop` the rows that nothing settled."""
    new_name: str = ""
    """A new dataset of the caller's; empty is a revision of the labelled one."""
    visibility: str = Visibility.PRIVATE
    message: str = ""


@dataclass
class Made:
    """The two files of a result, and what is in them."""

    rows: BinaryIO
    record: BinaryIO
    num_rows: int = 0
    num_dropped: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    hows: Counter[str] = field(default_factory=Counter)


def save_result(*, by: User, project: Project, wish: Wish) -> Commit:
    """Save what was labelled so far, whole or not at all, and return the commit.

    Raises:
        NotFound, Forbidden: the project is not the caller's, or the dataset is not theirs to write.
        BadInput: the format does not fit the task, or needs a dataset of its own.
        Conflict: `dataset_moved` when the file changed since it was pinned, `dataset_gone`,
            `nothing_to_save`.
    """
    check_owner(by, project)
    check_format(project.kind, wish.format)
    parent = None if wish.new_name else _check_may_replace(by, project, wish)
    made = make_result(project, wish, by=by)
    if made.num_rows == 0:
        message = "There is nothing to save yet: no row would be in the file."
        raise Conflict(message, code="nothing_to_save")
    rows, record = store_blob(source=made.rows), store_blob(source=made.record)
    get_report(rows)  # made now: it reads the file, which no transaction should
    words = Words(
        wish.message or _say(project, made, wish), parent_sha=parent.sha if parent else ""
    )
    if parent is None:
        commit = _save_new(by, project, wish, {DATA_FILE: rows, LABELS_FILE: record}, words)
    else:
        changes = Changes({project.path: rows, LABELS_FILE: record})
        commit = commit_files(by=by, repo=parent.repo, changes=changes, words=words)
        Project.objects.filter(pk=project.pk).update(saved_sha256=rows.sha256)
    audit.record("labelling.saved", actor=by, subject=str(project.pk), repo=commit.repo.repo_id)
    return commit


def make_result(project: Project, wish: Wish, *, by: User) -> Made:
    """Write the rows and the record into two files that go away when closed.

    Raises:
        BadInput: the format does not fit the task.
        Conflict: the dataset is gone.
    """
    check_format(project.kind, wish.format)
    made = Made(_spool(), _spool())
    names = _name_people(project)
    with open_blob(get_source_blob(project)) as source, _spool() as entries:
        writing = Writing(project, made.rows, wish.format, wish.rest)
        for row, line, outcome, is_in in write_rows(writing, source):
            made.num_rows += is_in
            made.num_dropped += not is_in
            made.verdicts[outcome.verdict or "none"] += 1
            made.hows[outcome.how] += 1
            if outcome.answers or outcome.item:
                _write_entry(entries, _describe_row(row, line, outcome, names, is_in))
        _write_record(project, made, wish, by, entries)
    made.rows.seek(0)
    made.record.seek(0)
    return made


def _check_may_replace(by: User, project: Project, wish: Wish) -> Commit:
    """Return the head to build on, where the labelled file is still what it was."""
    get_source_blob(project)
    assert project.commit is not None
    repo = project.commit.repo
    if not is_same_shape(project, wish.format):
        message = (
            f"new_name: rows of the format {wish.format} do not look like those of "
            f"{repo.repo_id}; name a new dataset for them."
        )
        raise BadInput(message, field="new_name", code="needs_new_dataset")
    check_may_write(by, repo)
    head = repo.head
    known = {get_source_blob(project).sha256, project.saved_sha256}
    file = head.files.filter(path=project.path).first() if head else None
    if head is None or not isinstance(file, CommitFile) or file.blob_id not in known:
        message = (
            f"{project.path} of {repo.repo_id} was changed since this project began, and would be "
            "lost: save into a new dataset instead."
        )
        raise Conflict(message, code="dataset_moved", dataset=repo.repo_id)
    head.repo = repo
    return head


def _save_new(
    by: User, project: Project, wish: Wish, files: dict[str, Blob], words: Words
) -> Commit:
    with _spool() as card:
        card.write(_write_card(project, wish).encode())
        card.seek(0)
        added = files | {"README.md": store_blob(source=card)}
    wanted = RepoName(Kind.DATASET, by.username, wish.new_name)
    summary = f"{project.name}: labelled rows of {project.dataset}"[:300]
    with transaction.atomic():
        repo = create_repo(by=by, wanted=wanted, visibility=wish.visibility, summary=summary)
        return commit_files(by=by, repo=repo, changes=Changes(added), words=words)


def _write_card(project: Project, wish: Wish) -> str:
    licence = project.commit.repo.license if project.commit else ""
    metadata: dict[str, Any] = {"license": licence} if licence else {}
    metadata["configs"] = [{"config_name": "default", "data_files": DATA_FILE}]
    head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    source = f"`{project.dataset}` at `{project.revision[:12]}`"
    return (
        f"---\n{head}---\n\n# {wish.new_name}\n\nRows of {source}, labelled by people "
        f"({project.kind}, format {wish.format}). Who said what is in `{LABELS_FILE}`.\n"
    )


def _say(project: Project, made: Made, wish: Wish) -> str:
    verdicts = ", ".join(
        f"{count} {name}" for name, count in sorted(made.verdicts.items()) if name != "none"
    )
    said = f" ({verdicts})" if verdicts else ""
    return f"Label {project.name}: {made.num_rows} rows, {made.num_dropped} left out{said}"


def _name_people(project: Project) -> dict[int, str]:
    """Return what annotators are called: by name only where the project says so."""
    members = project.members.select_related("user")
    return {
        member.user_id: member.user.username
        if project.shows_names
        else f"annotator-{member.number}"
        for member in members
    }


def _describe_row(
    row: int, line: Line, outcome: Outcome, names: dict[int, str], is_in: bool
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "row": row,
        "line": line.number,
        "verdict": outcome.verdict or None,
        "how": outcome.how,
        "is_in": is_in,
        "answers": [
            {
                "who": names.get(answer.annotator_id, "annotator"),
                "verdict": answer.verdict,
                "at": answer.done_at.isoformat() if answer.done_at else None,
                **({"reason": answer.reason} if answer.reason else {}),
                **({"from_draft": True} if answer.content.get("from_draft") else {}),
                **({"spans": answer.content["spans"]} if "spans" in answer.content else {}),
            }
            for answer in outcome.answers
        ],
    }
    item = outcome.item
    if item is not None and item.decided_at is not None:
        entry["decided_by"] = names.get(item.decided_by_id or 0, "owner")
        entry["decided_at"] = item.decided_at.isoformat()
    return entry


def _write_entry(entries: BinaryIO, entry: dict[str, Any]) -> None:
    comma = b",\n" if entries.tell() else b"\n"
    entries.write(comma + json.dumps(entry, ensure_ascii=False).encode())


def _write_record(project: Project, made: Made, wish: Wish, by: User, entries: BinaryIO) -> None:
    """Write the record's head, then its rows as they were gathered."""
    figures = asdict(get_figures(project))
    names = {m.user.username: m for m in project.members.select_related("user")}
    for person in figures["people"]:
        if not project.shows_names:
            person["username"] = f"annotator-{names[person['username']].number}"
    for pair in figures["pairs"]:
        for side in ("left", "right"):
            if not project.shows_names:
                pair[side] = f"annotator-{names[pair[side]].number}"
    head = {
        "project": project.name,
        "kind": project.kind,
        "dataset": project.dataset,
        "revision": project.revision,
        "path": project.path,
        "format": wish.format,
        "saved_at": timezone.now().isoformat(),
        "saved_by": by.username if project.shows_names else "owner",
        "num_rows": made.num_rows,
        "num_left_out": made.num_dropped,
        "verdicts": dict(made.verdicts),
        "settled": dict(made.hows),
        "models": sorted(set(project.draftings.values_list("model", flat=True))),
        "agreement": figures,
    }
    text = json.dumps(head, ensure_ascii=False, indent=1)
    made.record.write(text.removesuffix("\n}").encode() + b',\n "rows": [')
    entries.seek(0)
    while piece := entries.read(2**20):
        made.record.write(piece)
    made.record.write(b"\n ]\n}\n")


def _spool() -> BinaryIO:
    return tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # type: ignore[return-value]  # noqa: SIM115
