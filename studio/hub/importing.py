"""Service that brings a folder of this machine into the hub, as the platform's own public repo."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from studio.accounts.models import User
from studio.core.errors import BadInput
from studio.hub.blobs import store_blob
from studio.hub.models import Commit, Kind, Repo, Visibility
from studio.hub.names import split_repo_id
from studio.hub.services import Changes, RepoName, Words, commit_files, create_repo

Tell = Callable[[str, int], None]
"""Is told a file's path, and each time how many more of its bytes are in."""


def import_folder(*, by: User, folder: Path, wanted: RepoName, tell: Tell | None = None) -> Commit:
    """Make the repo's head be this folder, and return it; the same folder again changes nothing.

    Raises:
        BadInput: there is no such folder, or nothing in it.
    """
    paths = list_files(folder)
    repo = find_repo(wanted) or create_repo(by=by, wanted=wanted, visibility=Visibility.PUBLIC)
    added = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            added[name] = store_blob(source=file, on_bytes=partial(tell, name) if tell else None)
    changes = Changes(added, replaces_all=True)
    return commit_files(by=by, repo=repo, changes=changes, words=Words(f"Import {folder.name}"))


def list_files(folder: Path) -> list[Path]:
    """Return the files below a folder, without hidden ones.

    Raises:
        BadInput: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise BadInput(f"folder: {folder} is no folder; give an existing one.", field="folder")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    shown = [p for p in found if not any(x.startswith(".") for x in p.relative_to(folder).parts)]
    if not shown:
        raise BadInput(f"folder: {folder} holds no files; give another one.", field="folder")
    return shown


def find_repo(wanted: RepoName) -> Repo | None:
    """Return the repo of this name, whosoever's it is; None where there is none."""
    return Repo.objects.filter(
        kind=wanted.kind, namespace__iexact=wanted.namespace, name__iexact=wanted.name
    ).first()


def read_name(kind: str, repo_id: str) -> RepoName:
    """Return the repo that a command line names.

    Raises:
        BadInput: it is no repo id, or no kind.
    """
    if kind not in Kind.values:
        raise BadInput(f"kind: {kind} is neither model nor dataset.", field="kind")
    return RepoName(kind, *split_repo_id(repo_id))
