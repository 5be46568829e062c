"""Folders, history and tensors at the dashboard's API: parse, call one selector, shape."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.errors import BadInput
from studio.core.pagination import Pages
from studio.hub.access import check_may_read
from studio.hub.apis import read
from studio.hub.browse import serializers as shapes
from studio.hub.browse.folders import FolderEntry, find_last_changes, list_folder
from studio.hub.browse.history import FileChange, find_commit, list_changes, name_commits, read_diff
from studio.hub.browse.losses import tell_losses
from studio.hub.callers import get_caller
from studio.hub.content import open_blob
from studio.hub.models import Commit, Repo
from studio.hub.selectors import get_commit, get_file, get_repo, list_history
from studio.hub.serializers import RevisionInput
from studio.hub.tensors import Header, is_weights, read_header

_PAGED = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]


class FolderApi(APIView):
    @extend_schema(parameters=[shapes.FolderInput, *_PAGED], responses=shapes.FolderPageOutput)
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        wanted = read(shapes.FolderInput, request.query_params)
        repo = get_repo(get_caller(request), kind, namespace, name)
        if repo.head is None:
            return Response(_answer_page([], request, self))
        commit, folder = get_commit(repo, wanted["revision"]), wanted["folder"].strip("/")
        body = _answer_page(list_folder(commit, folder), request, self)
        body["results"] = _show_entries(commit, folder, body["results"])
        return Response(shapes.FolderPageOutput(body).data)


class HistoryApi(APIView):
    @extend_schema(
        operation_id="hub_repos_history_list",
        parameters=[RevisionInput, *_PAGED],
        responses=shapes.HistoryPageOutput,
    )
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        wanted = read(RevisionInput, request.query_params)
        repo = get_repo(get_caller(request), kind, namespace, name)
        history = list_history(get_commit(repo, wanted["revision"])) if repo.head else []
        body = _answer_page(history, request, self)
        commits = Commit.objects.select_related("author").in_bulk(body["results"])
        names = name_commits(repo)
        body["results"] = [_show_line(commits[pk], names) for pk in body["results"]]
        return Response(shapes.HistoryPageOutput(body).data)


class CommitApi(APIView):
    @extend_schema(parameters=_PAGED, responses=shapes.CommitOutput)
    def get(self, request: Request, kind: str, namespace: str, name: str, sha: str) -> Response:
        repo = get_repo(get_caller(request), kind, namespace, name)
        commit = find_commit(repo, sha)
        changes = list_changes(commit)
        body = _answer_page(changes, request, self) | _show_line(commit, name_commits(repo))
        body |= _count_kinds(changes) | {
            "description": commit.description,
            "parent_revision": commit.parent.sha if commit.parent else "",
        }
        return Response(shapes.CommitOutput(body).data)


class DiffApi(APIView):
    @extend_schema(parameters=[shapes.DiffInput], responses=shapes.FileDiffOutput)
    def get(self, request: Request, kind: str, namespace: str, name: str, sha: str) -> Response:
        wanted = read(shapes.DiffInput, request.query_params)
        repo = _get_readable(request, kind, namespace, name)
        return Response(vars(read_diff(find_commit(repo, sha), wanted["path"])))


class TensorsApi(APIView):
    @extend_schema(parameters=[shapes.TensorsInput, *_PAGED], responses=shapes.TensorPageOutput)
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        wanted = read(shapes.TensorsInput, request.query_params)
        repo = _get_readable(request, kind, namespace, name)
        header = _open_header(get_commit(repo, wanted["revision"]), wanted["path"])
        word = wanted["search"].casefold()
        found = [tensor for tensor in header.tensors if word in tensor.name.casefold()]
        body = _answer_page(found, request, self) | {
            "format": header.format,
            "num_tensors": len(header.tensors),
            "num_params": header.num_params,
            "dtypes": header.count_by_dtype(),
            "metadata": header.metadata,
        }
        return Response(shapes.TensorPageOutput(body).data)


class LossesApi(APIView):
    @extend_schema(responses=shapes.LossesOutput)
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        repo = get_repo(get_caller(request), kind, namespace, name)
        return Response(vars(tell_losses(get_caller(request), repo)))


def _get_readable(request: Request, kind: str, namespace: str, name: str) -> Repo:
    repo = get_repo(get_caller(request), kind, namespace, name)
    check_may_read(get_caller(request), repo)
    return repo


def _open_header(commit: Commit, path: str) -> Header:
    file = get_file(commit, path)
    if not is_weights(path):
        message = f"path: {path[:200]!r} holds no tensors; name a .safetensors or .gguf file."
        raise BadInput(message, field="path", code="no_tensors")
    try:
        with open_blob(file.blob) as source:
            return read_header(source, path)
    except ValueError as error:
        message = f"path: {path[:200]!r} cannot be read: {error}."
        raise BadInput(message, field="path", code="bad_header") from error


def _answer_page(rows: list[Any], request: Request, view: APIView) -> dict[str, Any]:
    pages = Pages()
    page = pages.paginate_queryset(rows, request, view=view)
    body: dict[str, Any] = pages.get_paginated_response(page).data
    return body


def _show_line(commit: Commit, names: dict[str, list[str]] | None = None) -> dict[str, Any]:
    return {
        "revision": commit.sha,
        "title": commit.message,
        "author": commit.author.username if commit.author else "",
        "created_at": commit.created_at,
        "names": (names or {}).get(commit.sha, []),
    }


def _show_entries(commit: Commit, folder: str, entries: list[FolderEntry]) -> list[dict[str, Any]]:
    last = find_last_changes(commit, folder, [entry.name for entry in entries])
    paths = [entry.path for entry in entries if not entry.is_folder]
    hashes = dict(commit.files.filter(path__in=paths).values_list("path", "blob_id"))
    return [
        vars(entry)
        | {
            "sha256": hashes.get(entry.path, ""),
            "last": _show_line(last[entry.name]) if entry.name in last else None,
        }
        for entry in entries
    ]


def _count_kinds(changes: list[FileChange]) -> dict[str, int]:
    kinds = [change.kind for change in changes]
    return {f"num_{kind}": kinds.count(kind) for kind in ("added", "changed", "deleted")}
