"""What may be done to repos: make, commit to, show, hide and delete them.

Bytes are safe on disk before a transaction names them; `main` moves under the repo's row lock, so
that of two commits at once neither is lost.
"""

import hashlib
import json
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.utils import timezone

from studio.accounts.models import User
from studio.core import audit
from studio.core.errors import BadInput, Conflict
from studio.hub.access import check_may_manage, check_may_write
from studio.hub.cards import Description, describe
from studio.hub.catalogue.services import index_repo
from studio.hub.errors import FileNotThere, RevisionNotThere
from studio.hub.model_facts import read_text
from studio.hub.models import Blob, BlobReport, Commit, CommitFile, Kind, Repo, Role, Visibility
from studio.hub.names import check_path, check_repo_name
from studio.hub.places import find_place, forget_old_name
from studio.hub.planning import tell_planner
from studio.hub.refs import MAIN, get_branch_head, lock_repo
from studio.hub.reports import MOST_CHECKED_BYTES, find_data_file, get_report

MAX_FILE_BYTES = 64 * 2**20
"""The largest file that a commit itself may carry."""
MOST_FILES = 20_000
"""The most that a repo holds."""
_MOST_MESSAGE = 300
_INSERT_ROWS = 500


@dataclass(frozen=True)
class RepoName:
    """Which repo is meant."""

    kind: str
    namespace: str
    name: str


@dataclass
class Changes:
    """What a commit does to the files before it: first the deletions, then the additions."""

    added: dict[str, Blob] = field(default_factory=dict)
    deleted_files: set[str] = field(default_factory=set)
    deleted_folders: set[str] = field(default_factory=set)
    replaces_all: bool = False
    """Nothing of before stays."""


@dataclass(frozen=True)
class Words:
    """What a commit says of itself."""

    message: str
    description: str = ""
    parent_sha: str = ""
    """The head that the author saw: if it has moved, the commit is refused. Empty asks nothing."""


def create_repo(
    *,
    by: User,
    wanted: RepoName,
    visibility: str = Visibility.PRIVATE,
    summary: str = "",
) -> Repo:
    """Make an empty repo in the caller's own namespace, or in an organization's they write in.

    Raises:
        BadInput: the name is none.
        Forbidden: the namespace is somebody else's.
        Conflict: `name_taken`, with capitals or without.
    """
    name = check_repo_name(wanted.name)
    place = find_place(by, wanted.namespace)
    repo = Repo(
        kind=wanted.kind,
        namespace=place.namespace,
        organization=place.organization,
        name=name,
        owner=by,
        visibility=visibility,
        summary=summary,
        role=Role.DATASET if wanted.kind == Kind.DATASET else Role.BASE,
    )
    repo.full_clean(validate_constraints=False)
    try:
        with transaction.atomic():
            repo.save(force_insert=True)
            forget_old_name(wanted.kind, place.namespace, name)
            index_repo(repo)
    except IntegrityError as error:
        message = f"name: you have a {wanted.kind} {repo.repo_id} already; choose another name."
        raise Conflict(message, field="name", code="name_taken", repo=repo.repo_id) from error
    audit.record("repo.created", actor=by, subject=repo.repo_id, kind=repo.kind)
    return repo


@transaction.atomic
def begin_history(*, by: User, repo: Repo) -> Commit:
    """Give a new repo a first commit without files: clients ask a new repo for its revision.

    Raises:
        NotFound, Forbidden: the caller may not write here.
    """
    check_may_write(by, repo)
    repo = lock_repo(repo)
    if repo.head is not None:
        return repo.head
    commit = _write_commit(by, repo, None, {}, Words("Begin"))
    _move_head(repo, commit, {})
    return commit


def commit_files(
    *, by: User, repo: Repo, changes: Changes, words: Words, branch: str = MAIN
) -> Commit:
    """Move a branch to a new state of the files and return it; of no change, no commit is made.

    Raises:
        RevisionNotThere: it has no such branch.
        NotFound, Forbidden: the caller may not write here.
        BadInput: a path is none, or there would be too many files.
        FileNotThere: a file to delete is not there.
        Conflict: `head_moved`, when the head is not the one the author saw.
    """
    check_may_write(by, repo)
    for path in changes.added:
        check_path(path)
    if repo.kind == Kind.DATASET:
        for path, blob in changes.added.items():
            if path.endswith(".jsonl") and blob.size_bytes <= MOST_CHECKED_BYTES:
                get_report(blob)
    with transaction.atomic():
        repo = lock_repo(repo)
        head = get_branch_head(repo, branch)
        _check_parent(head, branch, words)
        before = _read_manifest(head)
        after = _apply(before, changes)
        if head is not None and after == before:
            return head
        commit = _write_commit(by, repo, head, after, words)
        if branch == MAIN:
            _move_head(repo, commit, after)
        else:
            repo.refs.filter(name=branch).update(commit=commit)
    audit.record("repo.committed", actor=by, subject=repo.repo_id, kind=repo.kind, sha=commit.sha)
    return commit


@transaction.atomic
def squash_history(*, by: User, repo: Repo, branch: str, message: str = "") -> Commit:
    """Make a branch one commit with the files it has; the commits before stay reachable by sha.

    Raises:
        NotFound, Forbidden: the caller may not write here.
        RevisionNotThere: there is no such branch, or it is empty.
    """
    check_may_write(by, repo)
    repo = lock_repo(repo)
    head = get_branch_head(repo, branch)
    if head is None:
        raise RevisionNotThere(f"{repo.repo_id} is empty: push something first.")
    manifest = _read_manifest(head)
    words = Words(message or f"Super-squash branch {branch!r}")
    commit = _write_commit(by, repo, None, manifest, words)
    if branch == MAIN:
        _move_head(repo, commit, manifest)
    else:
        repo.refs.filter(name=branch).update(commit=commit)
    audit.record("repo.squashed", actor=by, subject=repo.repo_id, branch=branch, sha=commit.sha)
    return commit


@transaction.atomic
def update_repo(
    *,
    by: User,
    repo: Repo,
    visibility: str | None = None,
    summary: str | None = None,
    gate: str | None = None,
) -> Repo:
    """Show or hide a repo, gate it, or give it another summary line.

    Raises:
        NotFound, Forbidden: the caller may not manage it.
    """
    check_may_manage(by, repo)
    repo = lock_repo(repo)
    repo.visibility = repo.visibility if visibility is None else visibility
    repo.summary = repo.summary if summary is None else summary
    repo.gate = repo.gate if gate is None else gate
    repo.full_clean(validate_constraints=False)
    repo.save(update_fields=["visibility", "summary", "gate"])
    index_repo(repo)
    said = {"visibility": repo.visibility, "gate": repo.gate}
    audit.record("repo.updated", actor=by, subject=repo.repo_id, **said)
    return repo


@transaction.atomic
def delete_repo(*, by: User, repo: Repo) -> None:
    """Delete a repo and its history. Its bytes go with the next sweep.

    Raises:
        NotFound, Forbidden: the caller may not manage it.
    """
    check_may_manage(by, repo)
    repo = lock_repo(repo)
    repo.head = None
    repo.save(update_fields=["head"])
    repo.delete()
    audit.record("repo.deleted", actor=by, subject=repo.repo_id, kind=repo.kind)


def _check_parent(head: Commit | None, branch: str, words: Words) -> None:
    sha = head.sha if head else ""
    if words.parent_sha and not sha.startswith(words.parent_sha):
        message = (
            f"parentCommit: {branch} is at {sha[:12] or 'no commit'} now; fetch it and try again."
        )
        error = Conflict(message, field="parentCommit", code="head_moved", head=sha)
        error.status = 412
        raise error


def _read_manifest(commit: Commit | None) -> dict[str, Blob]:
    if commit is None:
        return {}
    return {file.path: file.blob for file in commit.files.select_related("blob")}


def _apply(before: dict[str, Blob], changes: Changes) -> dict[str, Blob]:
    after = {} if changes.replaces_all else dict(before)
    for path in changes.deleted_files:
        if after.pop(path, None) is None:
            raise FileNotThere(f"A file with this name doesn't exist: {path}.", field="path")
    for folder in changes.deleted_folders:
        inside = [path for path in after if path.startswith(f"{folder.strip('/')}/")]
        if not inside:
            raise FileNotThere(f"A folder with this name doesn't exist: {folder}.", field="path")
        for path in inside:
            del after[path]
    after.update(changes.added)
    _check_tree(after)
    return after


def _check_tree(manifest: dict[str, Blob]) -> None:
    if len(manifest) > MOST_FILES:
        message = f"A repo holds {MOST_FILES} files at most and this would make {len(manifest)}."
        raise BadInput(message, field="path", code="too_many_files", most=MOST_FILES)
    for path in manifest:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in manifest:
                message = f"path: {path} would lie in {'/'.join(parts[:depth])}, which is a file."
                raise BadInput(message, field="path", code="bad_path", path=path)


def _write_commit(
    by: User, repo: Repo, head: Commit | None, manifest: dict[str, Blob], words: Words
) -> Commit:
    now = timezone.now()
    listed = sorted((path, blob.sha256) for path, blob in manifest.items())
    parent = head.sha if head else ""
    text = json.dumps([repo.pk, parent, by.username, now.isoformat(), words.message, listed])
    commit = Commit.objects.create(
        repo=repo,
        sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        parent=head,
        message=(words.message.strip() or "Change files")[:_MOST_MESSAGE],
        description=words.description,
        author=by,
        created_at=now,
    )
    files = [CommitFile(commit=commit, path=path, blob=blob) for path, blob in manifest.items()]
    CommitFile.objects.bulk_create(files, batch_size=_INSERT_ROWS)
    transaction.on_commit(lambda: tell_planner(len(files)))
    return commit


def _move_head(repo: Repo, commit: Commit, manifest: dict[str, Blob]) -> None:
    told = _describe(repo.kind, manifest)
    repo.role, repo.license, repo.tags = told.role, told.license, told.tags
    repo.base_model, repo.base_revision = told.base_model, told.base_revision
    repo.card_summary = told.summary
    repo.size_bytes = sum(blob.size_bytes for blob in manifest.values())
    repo.num_rows = _count_rows(commit) if repo.kind == Kind.DATASET else None
    repo.head, repo.updated_at = commit, commit.created_at
    repo.full_clean(validate_constraints=False)
    repo.save()
    index_repo(repo)


def _describe(kind: str, manifest: dict[str, Blob]) -> Description:
    return describe(kind, set(manifest), lambda path: read_text(manifest[path]))


def _count_rows(commit: Commit) -> int | None:
    found = find_data_file(commit)
    report = BlobReport.objects.filter(blob=found[1]).first() if found else None
    return report.body["num_rows"] if report else None
