"""Repos for tests, made through the hub's own services."""

import io
import json

from studio.accounts.models import User
from studio.hub.blobs import store_blob
from studio.hub.models import Blob, Commit, Kind, Repo, Visibility
from studio.hub.services import Changes, RepoName, Words, commit_files, create_repo


def make_row(question: str = "q", answer: str = "a", **fields: object) -> str:
    """Return a good row."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns, **fields}, ensure_ascii=False)


def store(content: bytes) -> Blob:
    """Keep some bytes."""
    return store_blob(source=io.BytesIO(content))


def push(
    owner: User,
    repo_id: str,
    files: dict[str, bytes],
    *,
    kind: str = Kind.DATASET,
    visibility: str = Visibility.PRIVATE,
    message: str = "Push",
) -> Commit:
    """Push files to a repo, made where it is not there."""
    namespace, _, name = repo_id.partition("/")
    repo = Repo.objects.filter(kind=kind, namespace=namespace, name=name).first()
    if repo is None:
        repo = create_repo(by=owner, wanted=RepoName(kind, namespace, name), visibility=visibility)
    changes = Changes({path: store(content) for path, content in files.items()})
    return commit_files(by=owner, repo=repo, changes=changes, words=Words(message))
