"""The answers of the Hugging Face Hub's API, field by field as its clients read them."""

import hashlib
from collections.abc import Iterable
from typing import Any

from studio.accounts.models import User
from studio.hub.huggingface.lists import list_tags
from studio.hub.models import Commit, CommitFile, Kind, RefKind, Repo, Visibility
from studio.hub.xet.services import pointer_text

Json = dict[str, Any]
_ORG_ROLES = {"member": "read", "contributor": "write", "admin": "admin"}


def show_whoami(user: User, auth: Any) -> Json:
    """Shape the answer of `/api/whoami-v2`."""
    scopes = set(getattr(auth, "scopes", ["write"]))
    role = "write" if scopes & {"write", "admin"} else "read"
    return {
        "type": "user",
        "id": str(user.pk),
        "name": user.username,
        "fullname": user.display_name or user.username,
        "email": user.email or None,
        "orgs": [
            {
                "type": "org",
                "id": str(each.organization_id),
                "name": each.organization.name,
                "fullname": each.organization.display_name or each.organization.name,
                "roleInOrg": _ORG_ROLES[each.role],
            }
            for each in user.memberships.select_related("organization").order_by("pk")
        ],
        "auth": {"type": "access_token", "accessToken": {"displayName": "athanor", "role": role}},
    }


def show_repo(
    repo: Repo, commit: Commit | None, files: list[CommitFile], *, with_blobs: bool
) -> Json:
    """Shape a model's or dataset's info."""
    body: Json = {
        "_id": f"{repo.pk:024x}",
        "id": repo.repo_id,
        "author": repo.namespace,
        "sha": commit.sha if commit else None,
        "createdAt": show_time(repo.created_at),
        "lastModified": show_time(repo.updated_at),
        "private": repo.visibility != Visibility.PUBLIC,
        "visibility": repo.visibility,
        "gated": repo.gate or False,
        "disabled": False,
        "downloads": repo.downloads,
        "likes": _count_likes(repo),
        "tags": list_tags(repo),
        "usedStorage": repo.size_bytes,
        "siblings": [_show_sibling(file, with_blobs=with_blobs) for file in files],
    }
    if repo.kind == Kind.MODEL:
        body["modelId"] = repo.repo_id
        body["library_name"], body["pipeline_tag"] = _tell_use(repo)
    card = {"license": repo.license, "base_model": repo.base_model}
    body["cardData"] = {name: value for name, value in card.items() if value}
    return body


def _tell_use(repo: Repo) -> tuple[str | None, str | None]:
    """Return the library and the task; of a language model whose card names none, its own."""
    entry = getattr(repo, "entry", None)  # none before the catalogue has noted it
    if entry is None:
        return None, None
    is_ours = entry.library in {"transformers", "peft"}
    return entry.library or None, entry.task or ("text-generation" if is_ours else None)


def _count_likes(repo: Repo) -> int:
    entry = getattr(repo, "entry", None)  # none before the catalogue has noted it
    return int(entry.num_likes) if entry else 0


def show_tree(files: list[CommitFile], folder: str, *, recursive: bool) -> list[Json]:
    """Shape a folder's content: its folders first."""
    prefix = f"{folder}/" if folder else ""
    inside = [file for file in files if file.path.startswith(prefix)]
    if recursive:
        shown = inside
        folders = {parent for file in inside for parent in _list_parents(file.path)}
    else:
        shown = [file for file in inside if "/" not in file.path[len(prefix) :]]
        deeper = (file.path[len(prefix) :] for file in inside)
        folders = {prefix + path.partition("/")[0] for path in deeper if "/" in path}
    below = sorted(name for name in folders if name.startswith(prefix) and name != folder)
    return [_show_folder(name) for name in below] + [_show_file(file) for file in shown]


def show_paths(files: list[CommitFile], wanted: Iterable[str]) -> list[Json]:
    """Shape those of some paths that are there; what is not is left out, as the Hub does."""
    by_path = {file.path: file for file in files}
    folders = {parent for path in by_path for parent in _list_parents(path)}
    shown = []
    for path in wanted:
        if path in by_path:
            shown.append(_show_file(by_path[path]))
        elif path in folders:
            shown.append(_show_folder(path))
    return shown


def show_refs(repo: Repo) -> Json:
    """Shape the branches and tags; `main` is one once there is a commit."""
    shown: dict[str, list[Json]] = {"branch": [], "tag": []}
    if repo.head:
        shown["branch"].append(_show_ref("main", "refs/heads/main", repo.head))
    for ref in repo.refs.select_related("commit").order_by("pk"):
        prefix = "refs/heads/" if ref.kind == RefKind.BRANCH else "refs/tags/"
        shown[ref.kind].append(_show_ref(ref.name, prefix + ref.name, ref.commit))
    lists = {"branches": shown["branch"], "tags": shown["tag"]}
    return lists | {"converts": [], "pullRequests": []}


def _show_ref(name: str, full_name: str, commit: Commit) -> Json:
    return {"name": name, "ref": full_name, "targetCommit": commit.sha}


def show_commit(commit: Commit) -> Json:
    """Shape one line of the history."""
    authors = [{"user": commit.author.username}] if commit.author else []
    return {
        "id": commit.sha,
        "title": commit.message,
        "message": commit.description,
        "authors": authors,
        "date": show_time(commit.created_at),
    }


def _show_sibling(file: CommitFile, *, with_blobs: bool) -> Json:
    name: Json = {"rfilename": file.path}
    if with_blobs:
        name |= {"size": file.blob.size_bytes, "blobId": file.blob.git_oid}
        name |= _show_large(file)
    return name


def _show_file(file: CommitFile) -> Json:
    return {
        "type": "file",
        "oid": file.blob.git_oid,
        "size": file.blob.size_bytes,
        "path": file.path,
    } | _show_large(file)


def _show_large(file: CommitFile) -> Json:
    """A file kept as chunks is a pointer in git, and has a hash of Xet's."""
    blob = file.blob
    if not blob.xet_id:
        return {}
    size_bytes = len(pointer_text(blob.sha256, blob.size_bytes))
    lfs = {"oid": blob.sha256, "sha256": blob.sha256, "size": blob.size_bytes}
    return {"lfs": lfs | {"pointerSize": size_bytes}, "xetHash": blob.xet_id}


def _show_folder(path: str) -> Json:
    oid = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def _list_parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def show_time(moment: Any) -> str:
    """Return a moment as the Hub writes it."""
    return str(moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z")
