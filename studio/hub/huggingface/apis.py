"""The doors of the Hugging Face Hub's API: parse, call one service or selector, shape."""

from typing import Any

from django.http import HttpResponseBase, QueryDict
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response

from studio.core.errors import BadInput, StudioError
from studio.core.inputs import JsonParser, read_input
from studio.hub.callers import get_caller
from studio.hub.cards import CARD, read_card
from studio.hub.catalogue.services import count_download
from studio.hub.downloads import answer_file
from studio.hub.errors import FileNotThere
from studio.hub.huggingface.doors import HubApi
from studio.hub.huggingface.ndjson import read_commit
from studio.hub.huggingface.pages import add_last_commits, cut_page
from studio.hub.huggingface.shapes import (
    show_commit,
    show_paths,
    show_refs,
    show_repo,
    show_tree,
    show_whoami,
)
from studio.hub.lfs import goes_before_commit
from studio.hub.models import Commit, CommitFile, Kind, Repo, Visibility
from studio.hub.names import check_path
from studio.hub.refs import MAIN, get_branch_head
from studio.hub.selectors import find_etags, get_commit, get_file, list_files, list_history
from studio.hub.serializers import PreuploadInput
from studio.hub.services import (
    RepoName,
    begin_history,
    commit_files,
    create_repo,
    delete_repo,
)

_PAGE = 1000
_EXPANDED_PAGE = 100


class WhoAmIApi(HubApi):
    def get(self, request: Request) -> Response:
        return Response(show_whoami(get_caller(request), request.auth))


class ValidateYamlApi(HubApi):
    required_scope = "read"

    def post(self, request: Request) -> Response:
        card = read_card(str(_body(request).get("content", "")))
        if card.problem:
            return Response({"errors": [{"message": card.problem}], "warnings": []}, status=400)
        return Response({"errors": [], "warnings": []})


class CreateRepoApi(HubApi):
    def post(self, request: Request) -> Response:
        kind, namespace, name = _read_repo_name(request)
        self.check_run_may_write(kind, f"{namespace}/{name}")
        wanted = RepoName(kind, namespace, name)
        try:
            repo = create_repo(
                by=get_caller(request), wanted=wanted, visibility=_read_visibility(_body(request))
            )
        except StudioError as error:
            if error.code != "name_taken":
                raise
            repo = self.find_repo(kind, namespace, name)
            body = {"error": error.message, "url": _address(request, repo)}
            return Response(body, status=409)
        begin_history(by=get_caller(request), repo=repo)
        return Response({"url": _address(request, repo), "name": repo.repo_id, "id": repo.repo_id})


class DeleteRepoApi(HubApi):
    def delete(self, request: Request) -> Response:
        self.refuse_runs()
        kind, namespace, name = _read_repo_name(request)
        delete_repo(by=get_caller(request), repo=self.find_repo(kind, namespace, name))
        return Response({})


class RepoInfoApi(HubApi):
    def get(
        self, request: Request, kind: str, namespace: str, name: str, revision: str = ""
    ) -> Response:
        repo = self.find_repo(kind, namespace, name)
        # An empty repo is there; only a revision of it is not.
        commit = get_commit(repo, revision or "main") if revision or repo.head else None
        with_blobs = _asks(request, "blobs")
        return Response(show_repo(repo, commit, list_files(commit), with_blobs=with_blobs))


class TreeApi(HubApi):
    def get(
        self,
        request: Request,
        kind: str,
        namespace: str,
        name: str,
        revision: str,
        path: str = "",
    ) -> Response:
        commit = self.find_commit(kind, namespace, name, revision)
        entries = show_tree(
            list_files(commit), path.strip("/"), recursive=_asks(request, "recursive")
        )
        if path.strip("/") and not entries:
            raise FileNotThere(f"There is no folder {path[:200]!r} in {commit.repo.repo_id}.")
        expand = _asks(request, "expand")
        page, headers = cut_page(request, entries, _EXPANDED_PAGE if expand else _PAGE)
        return Response(add_last_commits(commit, page) if expand else page, headers=headers)


class PathsInfoApi(HubApi):
    required_scope = "read"
    parser_classes = [FormParser, JsonParser]

    def post(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        repo = self.find_repo(kind, namespace, name)
        data = _body(request)
        paths = data.getlist("paths") if isinstance(data, QueryDict) else data.get("paths", [])
        paths = [paths] if isinstance(paths, str) else paths
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise BadInput("paths: give a list of texts.", field="paths", code="bad_paths")
        if repo.head is None and _read_branch(revision) == MAIN:
            return Response([])  # clients ask what is there before they push the first file
        commit = get_commit(repo, revision)
        entries = show_paths(list_files(commit), [path.strip("/") for path in paths])
        expand = str(data.get("expand", "")).lower() in {"1", "true"}
        return Response(add_last_commits(commit, entries) if expand else entries)


class RefsApi(HubApi):
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        return Response(show_refs(self.find_repo(kind, namespace, name)))


class CommitsApi(HubApi):
    def get(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        history = list_history(self.find_commit(kind, namespace, name, revision))
        page, headers = cut_page(request, history, _EXPANDED_PAGE)
        commits = Commit.objects.select_related("author").in_bulk(page)
        return Response([show_commit(commits[each]) for each in page], headers=headers)


class PreuploadApi(HubApi):
    def post(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        self.check_run_may_write(kind, f"{namespace}/{name}")
        repo = self.find_repo(kind, namespace, name)
        head = get_branch_head(repo, _read_branch(revision))
        wish = read_input(PreuploadInput, _body(request))
        known = find_etags(head, [file["path"] for file in wish["files"]])
        answers = []
        for file in wish["files"]:
            path = check_path(file["path"])
            mode = "lfs" if goes_before_commit(path, file["size"]) else "regular"
            known_oid = known.get(path)
            answers.append(
                {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known_oid}
            )
        return Response({"files": answers})


class CommitApi(HubApi):
    parser_classes: list[Any] = []  # the body is read line by line, never as a whole

    def post(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        self.check_run_may_write(kind, f"{namespace}/{name}")
        repo = self.find_repo(kind, namespace, name)
        branch = _read_branch(revision)
        if request.query_params.get("create_pr"):
            raise BadInput("create_pr: this hub has no pull requests; commit to a branch.")
        changes, words = read_commit(request._request, get_caller(request))
        commit = commit_files(
            by=get_caller(request), repo=repo, changes=changes, words=words, branch=branch
        )
        url = f"{_address(request, repo)}/commit/{commit.sha}"
        return Response(
            {"success": True, "commitOid": commit.sha, "commitUrl": url, "hookOutput": ""}
        )


class ResolveApi(HubApi):
    def get(
        self, request: Request, kind: str, namespace: str, name: str, revision: str, path: str
    ) -> HttpResponseBase:
        repo = self.find_readable(kind, namespace, name)
        if repo.head is None and _read_branch(revision) == MAIN:
            # Clients look for a card before the first push, and take no other answer for none.
            raise FileNotThere(f"There is no file {path[:200]!r}: {repo.repo_id} is empty.")
        commit = get_commit(repo, revision)
        file = get_file(commit, path)
        if _is_fetch(request, file):
            count_download(get_caller(request), repo)
        return answer_file(request._request, file)

    head = get


def _is_fetch(request: Request, file: CommitFile) -> bool:
    """Say whether a file is taken away: a client that is only shown its card does not, nor a page.

    Of a file kept as chunks clients ask the head alone, and fetch it by Xet.
    """
    is_shown = request.headers.get("Sec-Fetch-Dest") in {"empty", "image"}
    is_taken = request.method == "GET" or file.blob.xet_id is not None
    return is_taken and not is_shown and file.path not in {CARD, ".gitattributes"}


def _read_repo_name(request: Request) -> tuple[str, str, str]:
    kind = str(_body(request).get("type") or Kind.MODEL)
    if kind not in Kind.values:
        raise BadInput(f"type: this hub has no {kind}s; use model or dataset.", field="type")
    namespace = str(_body(request).get("organization") or get_caller(request).username)
    return kind, namespace, str(_body(request).get("name", ""))


def _body(request: Request) -> dict[str, Any]:
    """Return the fields of a request.

    Raises:
        BadInput: its JSON is a list.
    """
    if not isinstance(request.data, dict):
        raise BadInput("The body is not an object: send a JSON object.", code="bad_json")
    return request.data


def _read_visibility(data: Any) -> str:
    """What nobody asked to show is private: the owner may show it later, but not take it back."""
    if data.get("visibility") in Visibility.values:
        return str(data["visibility"])
    return Visibility.PUBLIC if data.get("private") is False else Visibility.PRIVATE


def _read_branch(revision: str) -> str:
    if revision.startswith(("refs/pr/", "refs/tags/")):
        message = f"revision: {revision[:100]!r} cannot be pushed to; push to a branch."
        raise BadInput(message, field="revision")
    return revision.removeprefix("refs/heads/")


def _asks(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in {"1", "true"}


def _address(request: Request, repo: Repo) -> str:
    prefix = "/datasets" if repo.kind == Kind.DATASET else ""
    return request.build_absolute_uri(f"{prefix}/{repo.repo_id}")
