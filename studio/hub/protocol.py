"""The Hugging Face Hub's HTTP API, as far as its clients need it to fetch and to push small repos.

`HF_ENDPOINT=<studio>` makes `huggingface_hub`, `transformers` and `datasets` work against it. Files
go the `regular` way, inside the commit, so no client needs Xet or LFS here; see docs/decisions/005.
"""

from typing import Any

from django.db.models import F
from django.http import HttpResponseBase
from rest_framework.exceptions import APIException
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.authentication import (
    BrowserSessionAuthentication,
    PersonalTokenAuthentication,
)
from studio.core.errors import BadInput, Forbidden, StudioError
from studio.core.permissions import SignedInWithScope
from studio.hub.access import Reader
from studio.hub.cards import read_card
from studio.hub.downloads import answer_file
from studio.hub.errors import RepoNotThere
from studio.hub.models import Commit, Kind, Repo, Visibility
from studio.hub.ndjson import MAX_FILE_BYTES, read_commit, refuse_large
from studio.hub.protocol_shapes import (
    show_commit,
    show_paths,
    show_refs,
    show_repo,
    show_tree,
    show_whoami,
)
from studio.hub.selectors import get_commit, get_file, get_repo, list_commits, list_files
from studio.hub.services import RepoName, commit_files, create_repo, delete_repo
from studio.jobs.authentication import RunAuth, RunTokenAuthentication

_PAGE = 1000


class HubDoor(SignedInWithScope):
    """People by session or token; runs too, which each view holds to what a run may do."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Let a live run in, and people by their scope."""
        if isinstance(request.auth, RunAuth):
            return not request.auth.run.is_final
        return super().has_permission(request, view)


class HubApi(APIView):
    """What all doors of the protocol share: who may come, and how a refusal is told."""

    schema = None
    authentication_classes = [
        RunTokenAuthentication,
        PersonalTokenAuthentication,
        BrowserSessionAuthentication,
    ]
    permission_classes: list[type[BasePermission]] = [HubDoor]

    def handle_exception(self, exc: Exception) -> Response:
        """Add the headers by which Hugging Face clients tell refusals apart."""
        response = super().handle_exception(exc)
        message = str(response.data.get("message", ""))
        response.data["error"] = message
        code = getattr(exc, "hub_code", None)
        if code:
            response.headers["X-Error-Code"] = code
        if isinstance(exc, StudioError | APIException):
            response.headers["X-Error-Message"] = message.encode("ascii", "replace").decode()
        return response

    def reader(self) -> Reader:
        """Return on whose behalf the request reads; a server of the platform's reads everything."""
        auth = self.request.auth
        is_platform = isinstance(auth, RunAuth) and auth.run.job.is_platform
        return Reader(self.request.user, reads_all=is_platform)

    def find_repo(self, kind: str, namespace: str, name: str) -> Repo:
        """Return the repo of the address."""
        return get_repo(self.reader(), kind, namespace, name)

    def find_commit(self, kind: str, namespace: str, name: str, revision: str) -> Commit:
        """Return the commit of the address."""
        return get_commit(self.find_repo(kind, namespace, name), revision)

    def check_run_may_write(self, kind: str, repo_id: str) -> None:
        """Hold a run to the one repo that its job writes.

        Raises:
            Forbidden: it is another repo.
        """
        auth = self.request.auth
        if not isinstance(auth, RunAuth):
            return
        wanted = auth.run.job.output_repo
        if kind != Kind.MODEL or not wanted or repo_id.lower() != wanted.lower():
            raise Forbidden(f"This run may write {wanted or 'nothing'} only, not {repo_id}.")


class WhoAmIApi(HubApi):
    def get(self, request: Request) -> Response:
        return Response(show_whoami(request.user, request.auth))


class ValidateYamlApi(HubApi):
    required_scope = "read"

    def post(self, request: Request) -> Response:
        card = read_card(str(request.data.get("content", "")))
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
                by=request.user, wanted=wanted, visibility=_read_visibility(request.data)
            )
        except StudioError as error:
            if error.code != "name_taken":
                raise
            repo = self.find_repo(kind, namespace, name)
            body = {"error": error.message, "url": _address(request, repo)}
            return Response(body, status=409)
        return Response({"url": _address(request, repo), "name": repo.repo_id, "id": repo.repo_id})


class DeleteRepoApi(HubApi):
    def delete(self, request: Request) -> Response:
        if isinstance(request.auth, RunAuth):
            raise Forbidden("A run deletes no repo.")
        kind, namespace, name = _read_repo_name(request)
        delete_repo(by=request.user, repo=self.find_repo(kind, namespace, name))
        return Response({})


class RepoInfoApi(HubApi):
    def get(
        self, request: Request, kind: str, namespace: str, name: str, revision: str = ""
    ) -> Response:
        repo = self.find_repo(kind, namespace, name)
        # An empty repo is there; only a revision of it is not.
        commit = get_commit(repo, revision or "main") if revision or repo.head else None
        with_blobs = request.query_params.get("blobs", "").lower() in {"1", "true"}
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
        recursive = request.query_params.get("recursive", "").lower() in {"1", "true"}
        return Response(show_tree(list_files(commit), path.strip("/"), recursive=recursive))


class PathsInfoApi(HubApi):
    required_scope = "read"
    parser_classes = [FormParser, JSONParser]

    def post(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        commit = self.find_commit(kind, namespace, name, revision)
        data = request.data
        paths = data.getlist("paths") if hasattr(data, "getlist") else data.get("paths", [])
        wanted = [str(path).strip("/") for path in ([paths] if isinstance(paths, str) else paths)]
        return Response(show_paths(list_files(commit), wanted))


class RefsApi(HubApi):
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        return Response(show_refs(self.find_repo(kind, namespace, name)))


class CommitsApi(HubApi):
    def get(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        commit = self.find_commit(kind, namespace, name, revision)
        before = list_commits(commit.repo).filter(pk__lte=commit.pk)
        return Response([show_commit(each) for each in before[:_PAGE]])


class PreuploadApi(HubApi):
    def post(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        self.check_run_may_write(kind, f"{namespace}/{name}")
        repo = self.find_repo(kind, namespace, name)
        _check_branch(revision)
        known = {file.path: file.blob.git_oid for file in list_files(repo.head)}
        files = request.data.get("files", [])
        for file in files:
            refuse_large(str(file["path"]), int(file.get("size", 0)))
        return Response(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "regular",
                        "shouldIgnore": False,
                        "oid": known.get(file["path"]),
                    }
                    for file in files
                ]
            }
        )


class CommitApi(HubApi):
    parser_classes: list[Any] = []  # the body is read line by line, never as a whole

    def post(
        self, request: Request, kind: str, namespace: str, name: str, revision: str
    ) -> Response:
        self.check_run_may_write(kind, f"{namespace}/{name}")
        repo = self.find_repo(kind, namespace, name)
        _check_branch(revision)
        if request.query_params.get("create_pr"):
            raise BadInput("create_pr: this hub has no pull requests; commit to main.")
        changes, words = read_commit(request._request)
        commit = commit_files(by=request.user, repo=repo, changes=changes, words=words)
        url = f"{_address(request, repo)}/commit/{commit.sha}"
        return Response(
            {"success": True, "commitOid": commit.sha, "commitUrl": url, "hookOutput": ""}
        )


class ResolveApi(HubApi):
    def get(
        self, request: Request, kind: str, namespace: str, name: str, revision: str, path: str
    ) -> HttpResponseBase:
        commit = self.find_commit(kind, namespace, name, revision)
        file = get_file(commit, path)
        if request.method == "GET" and _counts_as_download(kind, path):
            Repo.objects.filter(pk=commit.repo_id).update(downloads=F("downloads") + 1)
        return answer_file(request._request, file)

    head = get


def _counts_as_download(kind: str, path: str) -> bool:
    """One file per fetch of a repo is counted: the one that every fetch needs."""
    if kind == Kind.MODEL:
        return path in {"config.json", "adapter_config.json"}
    return path.endswith(".jsonl")


def _read_repo_name(request: Request) -> tuple[str, str, str]:
    kind = str(request.data.get("type") or Kind.MODEL)
    if kind not in Kind.values:
        raise BadInput(f"type: this hub has no {kind}s; use model or dataset.", field="type")
    namespace = str(request.data.get("organization") or request.user.username)
    return kind, namespace, str(request.data.get("name", ""))


def _read_visibility(data: Any) -> str:
    """What nobody asked to show is private: the owner may show it later, but not take it back."""
    if data.get("visibility") in Visibility.values:
        return str(data["visibility"])
    return Visibility.PUBLIC if data.get("private") is False else Visibility.PRIVATE


def _check_branch(revision: str) -> None:
    if revision not in {"main", "refs/heads/main"}:
        raise BadInput(
            f"revision: {revision!r} cannot be pushed to; push to main.", field="revision"
        )


def _address(request: Request, repo: Repo) -> str:
    prefix = "/datasets" if repo.kind == Kind.DATASET else ""
    return request.build_absolute_uri(f"{prefix}/{repo.repo_id}")


__all__ = ["MAX_FILE_BYTES", "HubApi", "RepoNotThere"]
