"""What each commit changed, file by file and, of small texts, line by line."""

import difflib
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Subquery

from studio.hub.content import open_blob
from studio.hub.errors import FileNotThere, RevisionNotThere
from studio.hub.models import Blob, Commit, CommitFile, Ref, Repo
from studio.hub.refs import MAIN, list_refs

MOST_DIFF_BYTES = 64 * 2**10
_MOST_DIFF_LINES = 2000
"""Of a side, and of what is shown. `difflib` takes time by the square of it."""


@dataclass(frozen=True)
class FileChange:
    """What a commit did to a file. Sizes are None of the side on which it is not there."""

    path: str
    kind: str
    size_before: int | None
    size_after: int | None


@dataclass(frozen=True)
class FileDiff:
    """A file's change line by line, as `diff -u` writes it without its two first lines."""

    path: str
    diff: str = ""
    note: str = ""
    """Why there is no diff (`binary`, `large`, `same`), or that it is `cut`."""


def find_commit(repo: Repo, sha: str) -> Commit:
    """Return a commit by its whole sha; no branch can take its place.

    Raises:
        RevisionNotThere: the repo has none of that sha.
    """
    found = repo.commits.select_related("author", "parent").filter(sha=sha).first()
    if found is None:
        raise RevisionNotThere(f"{repo.repo_id} has no commit {sha[:40]}.")
    found.repo = repo
    return found


def name_commits(repo: Repo) -> dict[str, list[str]]:
    """Return the names of the branches and tags at each sha that has one."""
    names: dict[str, list[str]] = {repo.head.sha: [MAIN]} if repo.head else {}
    refs: list[Ref] = list_refs(repo)
    for ref in refs:
        names.setdefault(ref.commit.sha, []).append(ref.name)
    return names


def list_changes(commit: Commit) -> list[FileChange]:
    """Return what a commit changed against its parent, by path; of a first commit, all is new."""
    now = commit.files.all()
    if commit.parent_id is None:
        rows = now.values_list("path", "blob__size_bytes")
        return sorted((FileChange(path, "added", None, size) for path, size in rows), key=_by_path)
    before = CommitFile.objects.filter(commit_id=commit.parent_id)
    same_path = before.filter(path=OuterRef("path"))
    changed = now.exclude(Exists(same_path.filter(blob_id=OuterRef("blob_id")))).annotate(
        before=Subquery(same_path.values("blob__size_bytes")[:1])
    )
    changes = [
        FileChange(path, "added" if old is None else "changed", old, size)
        for path, size, old in changed.values_list("path", "blob__size_bytes", "before")
    ]
    gone = before.exclude(Exists(now.filter(path=OuterRef("path"))))
    changes += [
        FileChange(path, "deleted", size, None)
        for path, size in gone.values_list("path", "blob__size_bytes")
    ]
    return sorted(changes, key=_by_path)


def read_diff(commit: Commit, path: str) -> FileDiff:
    """Return how a commit changed the lines of a file.

    Raises:
        FileNotThere: neither the commit nor its parent has it.
    """
    sides = [_find_blob(commit.parent_id, path), _find_blob(commit.pk, path)]
    if sides == [None, None]:
        raise FileNotThere(f"There is no file {path[:200]!r} in commit {commit.sha[:10]}.")
    if any(blob and blob.size_bytes > MOST_DIFF_BYTES for blob in sides):
        return FileDiff(path, note="large")
    texts = [_read(blob) for blob in sides]
    if texts[0] is None or texts[1] is None:
        return FileDiff(path, note="binary")
    before, after = (text.split("\n") for text in texts if text is not None)
    return _compare(path, before, after)


def _by_path(change: FileChange) -> str:
    return change.path


def _find_blob(commit_id: int | None, path: str) -> Blob | None:
    if commit_id is None:
        return None
    files = CommitFile.objects.filter(commit_id=commit_id, path=path)
    file = files.select_related("blob", "blob__xet").first()
    return file.blob if file else None


def _read(blob: Blob | None) -> str | None:
    """Return a file as text; of no file the empty one, and None of what is no text."""
    if blob is None:
        return ""
    with open_blob(blob) as file:
        data = file.read()
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def _compare(path: str, before: list[str], after: list[str]) -> FileDiff:
    if max(len(before), len(after)) > _MOST_DIFF_LINES:
        return FileDiff(path, note="large")
    # The last element is what follows the last line break: nothing, of a file that ends in one.
    ends = [lines.pop() for lines in (before, after)]
    before += [ends[0]] if ends[0] else []
    after += [ends[1]] if ends[1] else []
    lines = list(difflib.unified_diff(before, after, lineterm=""))[2:]
    note = "" if lines else "same"
    if len(lines) > _MOST_DIFF_LINES:
        lines, note = lines[:_MOST_DIFF_LINES], "cut"
    return FileDiff(path, "\n".join(lines), note)
