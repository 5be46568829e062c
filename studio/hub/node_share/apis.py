"""/share at the API, and the door at which nodes ask what to lay out there."""

from drf_spectacular.utils import extend_schema
from pydantic import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.compute.authentication import IsNode, NodeTokenAuthentication, get_node
from studio.compute.services import record_share
from studio.core.errors import BadInput
from studio.core.inputs import read_body, read_input
from studio.hub.callers import get_caller
from studio.hub.names import split_repo_id
from studio.hub.node_share.selectors import ShareEntry, describe_share
from studio.hub.node_share.serializers import SharedRepoInput, SharedRepoOutput
from studio.hub.node_share.services import share_repo, unshare_repo
from studio.hub.selectors import get_repo
from workers.orders import ShareReport


class NodeShareApi(APIView):
    @extend_schema(responses=SharedRepoOutput(many=True))
    def get(self, request: Request) -> Response:
        return Response(_show_all())

    @extend_schema(request=SharedRepoInput, responses={200: SharedRepoOutput(many=True)})
    def post(self, request: Request) -> Response:
        caller, wish = get_caller(request), read_input(SharedRepoInput, request.data)
        repo = get_repo(caller, wish["kind"], *split_repo_id(wish["repo"]))
        share_repo(by=caller, repo=repo, revision=wish["revision"])
        return Response(_show_all())


class SharedRepoApi(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        caller = get_caller(request)
        unshare_repo(by=caller, repo=get_repo(caller, kind, namespace, name))
        return Response(status=204)


class NodeShareReportApi(APIView):
    """A node says what it has, and is told what it shall have."""

    authentication_classes = [NodeTokenAuthentication]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        try:
            report = ShareReport.model_validate_json(read_body(request._request))
        except ValidationError as error:
            raise BadInput(f"The report cannot be read: {error.errors()[0]['msg']}.") from error
        record_share(node=get_node(request), **report.model_dump(mode="json"))
        wanted = [_order(entry) for entry in describe_share() if entry.commit]
        return Response({"share": wanted})


def _order(entry: ShareEntry) -> dict[str, object]:
    repo, commit = entry.shared.repo, entry.commit
    assert commit is not None, "the caller leaves out what names nothing"
    return {
        "kind": repo.kind,
        "repo": repo.repo_id,
        "sha": commit.sha,
        "size_bytes": entry.size_bytes,
    }


def _show_all() -> list[dict[str, object]]:
    return list(SharedRepoOutput([_show(entry) for entry in describe_share()], many=True).data)


def _show(entry: ShareEntry) -> dict[str, object]:
    shared = entry.shared
    return {
        "kind": shared.repo.kind,
        "repo": shared.repo.repo_id,
        "path": entry.path,
        "revision": shared.revision,
        "sha": entry.commit.sha if entry.commit else "",
        "size_bytes": entry.size_bytes,
        "chosen_by": shared.chosen_by.username if shared.chosen_by else "",
        "chosen_at": shared.chosen_at,
    }
