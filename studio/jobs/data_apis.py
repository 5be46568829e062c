"""What the launch page asks of data: which datasets suit a stage, and what is learnt of them."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.specs.stages import StageName, judge_format
from studio.hub.catalogue.search import RepoSearch, search_repos
from studio.hub.models import Repo
from studio.hub.trainable import tell_formats
from studio.jobs import serializers as shapes
from studio.jobs.apis import read, viewer_of
from studio.jobs.previews import begin_preview, get_preview

_MOST_FOUND = 30


class SuitedDatasetsApi(APIView):
    @extend_schema(
        operation_id="jobs_datasets_list",
        parameters=[shapes.SuitedInput],
        responses=shapes.SuitedOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        wanted = read(shapes.SuitedInput, request.query_params)
        found = search_repos(
            viewer_of(request), RepoSearch(kind="dataset", search=wanted["search"])
        )
        shown = [_show(repo, wanted["stage"]) for repo in found[:_MOST_FOUND]]
        shown.sort(key=lambda one: one["verdict"] != "suits")  # stable: else as the hub has them
        return Response(shapes.SuitedOutput(shown, many=True).data)


class PreviewListApi(APIView):
    required_scope = "read"

    @extend_schema(request=shapes.PreviewInput, responses={200: shapes.PreviewOutput})
    def post(self, request: Request) -> Response:
        job = begin_preview(
            by=viewer_of(request), spec=read(shapes.PreviewInput, request.data)["spec"]
        )
        return _answer(request, job.pk)


class PreviewApi(APIView):
    @extend_schema(responses=shapes.PreviewOutput)
    def get(self, request: Request, job_id: UUID) -> Response:
        return _answer(request, job_id)


def _answer(request: Request, job_id: UUID) -> Response:
    return Response(shapes.PreviewOutput(get_preview(viewer_of(request), job_id)).data)


def _show(repo: Repo, stage: StageName) -> dict[str, Any]:
    if repo.head is not None:
        repo.head.repo = repo
    formats = tell_formats(repo.head) if repo.head else []
    verdicts = [judge_format(stage, name) for name in formats]
    verdict = next((one for one in verdicts if one != "suits"), "suits")
    return {
        "id": repo.repo_id,
        "num_rows": repo.num_rows,
        "size_bytes": repo.size_bytes,
        "formats": formats,
        "verdict": verdict if formats else "unknown",
    }
