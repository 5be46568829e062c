"""Doors by which repos are managed: branches, tags, moves, settings, access, lists, copies."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from studio.core.errors import BadInput
from studio.hub.callers import get_caller
from studio.hub.gating import ask_access, decide_access, find_asker, list_requests
from studio.hub.huggingface.doors import HubApi
from studio.hub.huggingface.lists import find_repos
from studio.hub.huggingface.pages import CountedRepos, cut_page
from studio.hub.huggingface.shapes import show_repo, show_time
from studio.hub.lfs import find_committable
from studio.hub.models import AccessState, Gate, Kind, RefKind, Visibility
from studio.hub.names import split_repo_id
from studio.hub.places import move_repo
from studio.hub.refs import create_ref, delete_ref
from studio.hub.selectors import get_commit
from studio.hub.services import squash_history, update_repo

_PAGE = 1000


class BranchApi(HubApi):
    def post(self, request: Request, kind: str, namespace: str, name: str, branch: str) -> Response:
        self.refuse_runs()
        repo = self.find_repo(kind, namespace, name)
        start = str(read_body(request).get("startingPoint") or "main")
        commit = get_commit(repo, start)
        create_ref(
            by=get_caller(request), repo=repo, kind=RefKind.BRANCH, name=branch, commit=commit
        )
        return Response({}, status=201)

    def delete(
        self, request: Request, kind: str, namespace: str, name: str, branch: str
    ) -> Response:
        self.refuse_runs()
        repo = self.find_repo(kind, namespace, name)
        delete_ref(by=get_caller(request), repo=repo, kind=RefKind.BRANCH, name=branch)
        return Response({})


class TagApi(HubApi):
    """POST names the revision to tag, DELETE the tag."""

    def post(self, request: Request, kind: str, namespace: str, name: str, tag: str) -> Response:
        self.refuse_runs()
        repo, body = self.find_repo(kind, namespace, name), read_body(request)
        create_ref(
            by=get_caller(request),
            repo=repo,
            kind=RefKind.TAG,
            name=str(body.get("tag", "")),
            commit=get_commit(repo, tag),
            message=str(body.get("message") or ""),
        )
        return Response({}, status=201)

    def delete(self, request: Request, kind: str, namespace: str, name: str, tag: str) -> Response:
        self.refuse_runs()
        repo = self.find_repo(kind, namespace, name)
        delete_ref(by=get_caller(request), repo=repo, kind=RefKind.TAG, name=tag)
        return Response({})


class SquashApi(HubApi):
    def post(self, request: Request, kind: str, namespace: str, name: str, branch: str) -> Response:
        self.refuse_runs()
        repo = self.find_repo(kind, namespace, name)
        message = str(read_body(request).get("message") or "")
        squash_history(by=get_caller(request), repo=repo, branch=branch, message=message)
        return Response({})


class MoveRepoApi(HubApi):
    def post(self, request: Request) -> Response:
        self.refuse_runs()
        body = read_body(request)
        kind = str(body.get("type") or Kind.MODEL)
        repo = self.find_repo(kind, *split_repo_id(str(body.get("fromRepo")), field="fromRepo"))
        namespace, name = split_repo_id(str(body.get("toRepo")), field="toRepo")
        moved = move_repo(by=get_caller(request), repo=repo, namespace=namespace, name=name)
        return Response({"id": moved.repo_id})


class SettingsApi(HubApi):
    def put(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        self.refuse_runs()
        repo, body = self.find_repo(kind, namespace, name), read_body(request)
        wish: dict[str, Any] = {}
        if "gated" in body:
            wish["gate"] = _read_gate(body["gated"])
        if "visibility" in body:
            wish["visibility"] = _read_choice("visibility", body["visibility"], Visibility.values)
        elif "private" in body:
            wish["visibility"] = Visibility.PRIVATE if body["private"] else Visibility.PUBLIC
        repo = update_repo(by=get_caller(request), repo=repo, **wish)
        return Response({"private": repo.visibility != Visibility.PUBLIC})


class AccessListApi(HubApi):
    def get(self, request: Request, kind: str, namespace: str, name: str, state: str) -> Response:
        repo = self.find_repo(kind, namespace, name)
        asked = list_requests(get_caller(request), repo, state)
        page, headers = cut_page(request, list(asked), _PAGE)
        shown = [
            {
                "requestId": str(each.pk),
                "user": {
                    "user": each.user.username,
                    "fullname": each.user.display_name or each.user.username,
                },
                "status": each.state,
                "timestamp": show_time(each.asked_at),
            }
            for each in page
        ]
        return Response(shown, headers=headers)


class AccessDecisionApi(HubApi):
    """POST .../user-access-request/handle and /grant."""

    def post(self, request: Request, kind: str, namespace: str, name: str, action: str) -> Response:
        self.refuse_runs()
        repo, body = self.find_repo(kind, namespace, name), read_body(request)
        state = AccessState.ACCEPTED
        if action == "handle":
            state = _read_choice("status", body.get("status"), AccessState.values)
        username = body.get("user")
        if username is None:
            username = find_asker(get_caller(request), repo, str(body.get("requestId", "")))
        decide_access(by=get_caller(request), repo=repo, username=str(username), state=state)
        return Response({})


class AskAccessApi(HubApi):
    def post(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        self.refuse_runs()
        asked = ask_access(by=get_caller(request), repo=self.find_repo(kind, namespace, name))
        return Response({"status": asked.state})


class AuthCheckApi(HubApi):
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        self.find_readable(kind, namespace, name)
        return Response({})


class DuplicateFilesApi(HubApi):
    """POST .../lfs-files/duplicate: large files to be named by another repo's commit.

    The hub keeps bytes once for all repos, so there is nothing to do but to see who may.
    """

    def post(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        self.find_readable(kind, namespace, name)
        files = read_body(request).get("files")
        if not isinstance(files, list) or not all(isinstance(each, dict) for each in files):
            raise BadInput("files: send a list of files.", field="files", code="bad_files")
        known: list[dict[str, str]] = []
        failed: list[dict[str, str]] = []
        for each in files:
            oid = str(each.get("sha256", ""))
            is_there = find_committable(get_caller(request), oid) is not None
            (known if is_there else failed).append(
                {"sha256": oid} | ({} if is_there else {"error": "there is no such file"})
            )
        return Response({"success": known, "failed": failed})


class RepoListApi(HubApi):
    def get(self, request: Request, kind: str) -> Response:
        repos = find_repos(self.reader(), kind, request.query_params)
        page, headers = cut_page(request, CountedRepos(repos), _PAGE)
        return Response(
            [show_repo(repo, repo.head, [], with_blobs=False) for repo in page], headers=headers
        )


def read_body(request: Request) -> dict[str, Any]:
    """Return the fields of a request.

    Raises:
        BadInput: its JSON is a list.
    """
    if not isinstance(request.data, dict):
        raise BadInput("The body is not an object: send a JSON object.", code="bad_json")
    return dict(request.data.items())


def _read_choice(field: str, value: Any, known: list[str]) -> Any:
    if value not in known:
        message = f"{field}: {str(value)[:40]!r} is none of {', '.join(known)}."
        raise BadInput(message, field=field, code="bad_choice")
    return value


def _read_gate(value: Any) -> str:
    if value is False:
        return Gate.NONE
    return str(_read_choice("gated", value, [Gate.AUTO, Gate.MANUAL]))
