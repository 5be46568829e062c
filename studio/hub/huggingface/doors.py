"""What all doors of the protocol share: who may come, and how a refusal is told."""

from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.authentication import (
    BrowserSessionAuthentication,
    PersonalTokenAuthentication,
)
from studio.compute.authentication import NodeAuth, NodeTokenAuthentication
from studio.core.errors import Forbidden, StudioError
from studio.core.permissions import SignedInWithScope
from studio.hub.access import Reader, check_may_read
from studio.hub.callers import get_caller
from studio.hub.models import Commit, Kind, Repo
from studio.hub.selectors import get_commit, get_repo
from studio.jobs.authentication import RunAuth, RunTokenAuthentication
from studio.machines.machine_tokens import MachineTokenAuthentication


class HubDoor(SignedInWithScope):
    """People by session or token; nodes, which read; and runs, which each view holds to its own."""

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
        NodeTokenAuthentication,
        MachineTokenAuthentication,
        PersonalTokenAuthentication,
        BrowserSessionAuthentication,
    ]
    permission_classes: list[type[BasePermission]] = [HubDoor]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Undo the escaped slashes that an address keeps within its parts."""
        for name in {"revision", "path", "branch", "tag"} & set(self.kwargs):
            self.kwargs[name] = kwargs[name] = self.kwargs[name].replace("%2F", "/")
        super().initial(request, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Response:
        """Add the headers by which Hugging Face clients tell refusals apart."""
        response = super().handle_exception(exc)
        message = str(response.data.get("message", ""))
        response.data["error"] = message
        code = getattr(exc, "hub_code", None)
        if code:
            response.headers["X-Error-Code"] = code
        if isinstance(exc, StudioError | APIException):
            one_line = " ".join(message.split())
            response.headers["X-Error-Message"] = one_line.encode("ascii", "replace").decode()
        return response

    def reader(self) -> Reader:
        """Return on whose behalf the request reads; a server of the platform's reads everything."""
        auth = self.request.auth
        if isinstance(auth, NodeAuth):
            return Reader(get_caller(self.request), reads_open=True)
        job = auth.run.job if isinstance(auth, RunAuth) else None
        is_server = job is not None and job.is_platform and job.kind == "serve"
        return Reader(get_caller(self.request), reads_all=is_server)

    def find_repo(self, kind: str, namespace: str, name: str) -> Repo:
        """Return the repo of the address."""
        return get_repo(self.reader(), kind, namespace, name)

    def find_readable(self, kind: str, namespace: str, name: str) -> Repo:
        """Return the repo of the address, whose files the caller may have."""
        repo = self.find_repo(kind, namespace, name)
        check_may_read(self.reader(), repo)
        return repo

    def find_commit(self, kind: str, namespace: str, name: str, revision: str) -> Commit:
        """Return the commit of the address."""
        return get_commit(self.find_repo(kind, namespace, name), revision)

    def refuse_readers(self) -> None:
        """Let pass who may write as far as their token goes, for what is asked by GET.

        Raises:
            Forbidden: the token is for reading.
        """
        auth: Any = self.request.auth
        if auth is not None and not isinstance(auth, RunAuth) and not auth.allows("write"):
            raise Forbidden("This token may only read: make one with the scope `write`.")

    def refuse_runs(self) -> None:
        """Let pass people only: a run changes files of its own repo and nothing else.

        Raises:
            Forbidden: it is a run.
        """
        if isinstance(self.request.auth, RunAuth):
            raise Forbidden("A run manages no repos.")

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
