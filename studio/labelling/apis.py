"""Labelling at the dashboard's API: parse, call one service or selector, shape the answer."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.inputs import read_input
from studio.core.pagination import Pages
from studio.hub.callers import get_caller
from studio.hub.downloads import Span, stream_bytes
from studio.labelling import drafting, saving, services, shapes, work
from studio.labelling import serializers as wire
from studio.labelling.models import Answer, Project
from studio.labelling.selectors import (
    count_mine,
    get_figures,
    get_my_answer,
    get_project,
    list_disputes,
    list_projects,
)
from studio.labelling.sources import read_source_row
from studio.labelling.verdicts import Said, check_said

_PAGING = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]


class LabellingListApi(APIView):
    @extend_schema(
        operation_id="labelling_projects_list",
        parameters=[wire.LabellingListInput, *_PAGING],
        responses=wire.LabellingPageOutput,
    )
    def get(self, request: Request) -> Response:
        viewer = get_caller(request)
        wanted = wire.LabellingListInput(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        found = list_projects(viewer, **wanted.validated_data)
        pages = Pages()
        page = pages.paginate_queryset(found, request, view=self) or []
        return pages.get_paginated_response([shapes.show_project(each, viewer) for each in page])

    @extend_schema(request=wire.LabellingInput, responses={201: wire.LabellingDetailOutput})
    def post(self, request: Request) -> Response:
        wish = read_input(wire.LabellingInput, request.data)
        wanted = services.NewProject(**wish)
        project = services.create_project(by=get_caller(request), wanted=wanted)
        return Response(shapes.show_detail(project, get_caller(request)), status=201)


class LabellingApi(APIView):
    @extend_schema(responses=wire.LabellingDetailOutput)
    def get(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        return Response(shapes.show_detail(project, get_caller(request)))

    @extend_schema(request=wire.LabellingUpdateInput, responses=wire.LabellingDetailOutput)
    def patch(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        wish = read_input(wire.LabellingUpdateInput, request.data, partial=True)
        changed = services.update_project(by=get_caller(request), project=project, wish=wish)
        return Response(shapes.show_detail(changed, get_caller(request)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        services.delete_project(by=get_caller(request), project=project)
        return Response(status=204)


class LabelMembersApi(APIView):
    @extend_schema(request=wire.MemberInput, responses={201: wire.LabellingDetailOutput})
    def post(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        wish = read_input(wire.MemberInput, request.data)
        services.invite_member(by=get_caller(request), project=project, **wish)
        return Response(shapes.show_detail(project, get_caller(request)), status=201)


class LabelMemberApi(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, project_id: UUID, username: str) -> Response:
        project = get_project(get_caller(request), project_id)
        services.remove_member(by=get_caller(request), project=project, username=username)
        return Response(status=204)


class LabelNextApi(APIView):
    @extend_schema(request=None, responses=wire.LabelNextOutput)
    def post(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        return Response(_take_next(request, project))


class LabelUndoApi(APIView):
    @extend_schema(request=None, responses=wire.LabelNextOutput)
    def post(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        answer = work.undo_last(by=get_caller(request), project_id=project.pk)
        return Response(_show_work(request, project, answer))


class LabelWorkApi(APIView):
    @extend_schema(responses=wire.LabelNextOutput)
    def get(self, request: Request, project_id: UUID, row: int) -> Response:
        project = get_project(get_caller(request), project_id)
        answer = get_my_answer(get_caller(request), project, row)
        return Response(_show_work(request, project, answer))

    @extend_schema(
        request=wire.LabelAnswerInput,
        responses=wire.LabelNextOutput,
        description="Keeps the answer and hands out the next row.",
    )
    def put(self, request: Request, project_id: UUID, row: int) -> Response:
        project = get_project(get_caller(request), project_id)
        wish = read_input(wire.LabelAnswerInput, request.data)
        get_my_answer(get_caller(request), project, row)
        said = check_said(project, read_source_row(project, row), wish)
        is_mirrored = shapes.shows_mirrored(project, row, get_caller(request))
        turned = Said(shapes.turn_verdict(said.verdict, is_mirrored), said.content, said.reason)
        work.send_answer(
            by=get_caller(request),
            project_id=project.pk,
            row=row,
            revision=wish["revision"],
            said=turned,
        )
        return Response(_take_next(request, project))

    @extend_schema(request=wire.UnsentInput, responses={204: None})
    def patch(self, request: Request, project_id: UUID, row: int) -> Response:
        project = get_project(get_caller(request), project_id)
        wish = read_input(wire.UnsentInput, request.data)
        work.keep_unsent(by=get_caller(request), project_id=project.pk, row=row, **wish)
        return Response(status=204)


class LabelSkipApi(APIView):
    @extend_schema(request=None, responses=wire.LabelNextOutput)
    def post(self, request: Request, project_id: UUID, row: int) -> Response:
        project = get_project(get_caller(request), project_id)
        work.skip_row(by=get_caller(request), project_id=project.pk, row=row)
        return Response(_take_next(request, project))


class LabelFiguresApi(APIView):
    @extend_schema(responses=wire.LabelFiguresOutput)
    def get(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        services.check_owner(get_caller(request), project)
        return Response(wire.LabelFiguresOutput(get_figures(project)).data)


class LabelDisputesApi(APIView):
    @extend_schema(
        operation_id="labelling_disputes_list",
        parameters=[wire.LabelDisputesInput, *_PAGING],
        responses=wire.LabelDisputePageOutput,
    )
    def get(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        services.check_owner(get_caller(request), project)
        wanted = wire.LabelDisputesInput(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        pages = Pages()
        found = list_disputes(project, which=wanted.validated_data["which"])
        page = pages.paginate_queryset(found, request, view=self) or []
        return pages.get_paginated_response([shapes.show_dispute(item) for item in page])


class LabelDecisionApi(APIView):
    @extend_schema(responses=wire.LabelRowOutput)
    def get(self, request: Request, project_id: UUID, row: int) -> Response:
        project = get_project(get_caller(request), project_id)
        services.check_owner(get_caller(request), project)
        return Response(shapes.show_row(project, row))

    @extend_schema(request=wire.SaidInput, responses={204: None})
    def put(self, request: Request, project_id: UUID, row: int) -> Response:
        project = get_project(get_caller(request), project_id)
        wish = read_input(wire.SaidInput, request.data)
        services.decide_row(by=get_caller(request), project=project, row=row, wish=wish)
        return Response(status=204)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, project_id: UUID, row: int) -> Response:
        project = get_project(get_caller(request), project_id)
        services.decide_row(by=get_caller(request), project=project, row=row, wish=None)
        return Response(status=204)


class DraftingCostApi(APIView):
    required_scope = "read"

    @extend_schema(request=wire.DraftingCostInput, responses=wire.DraftingCostOutput)
    def post(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        wish = read_input(wire.DraftingCostInput, request.data)
        cost = drafting.estimate_drafting(by=get_caller(request), project=project, **wish)
        return Response(wire.DraftingCostOutput(cost).data)


class DraftingApi(APIView):
    @extend_schema(request=wire.DraftingInput, responses={201: wire.DraftingOutput})
    def post(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        wanted = drafting.NewDrafting(**read_input(wire.DraftingInput, request.data))
        made = drafting.start_drafting(by=get_caller(request), project=project, wanted=wanted)
        return Response(shapes.show_drafting(made), status=201)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        drafting.stop_drafting(by=get_caller(request), project=project)
        return Response(status=204)


class LabelSaveApi(APIView):
    @extend_schema(request=wire.LabelSaveInput, responses={201: wire.LabelSavedOutput})
    def post(self, request: Request, project_id: UUID) -> Response:
        project = get_project(get_caller(request), project_id)
        wish = saving.Wish(**read_input(wire.LabelSaveInput, request.data))
        commit = saving.save_result(by=get_caller(request), project=project, wish=wish)
        body = {
            "dataset": commit.repo.repo_id,
            "revision": commit.sha,
            "message": commit.message,
        }
        return Response(body, status=201)


class LabelExportApi(APIView):
    @extend_schema(
        parameters=[wire.LabelExportInput],
        responses={(200, "application/jsonl"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, project_id: UUID, wanted: str) -> HttpResponseBase:
        project = get_project(get_caller(request), project_id)
        services.check_owner(get_caller(request), project)
        given = wire.LabelExportInput(data=request.query_params)
        given.is_valid(raise_exception=True)
        wish = saving.Wish(format=wanted, **given.validated_data)
        made = saving.make_result(project, wish, by=get_caller(request))
        size_bytes = made.rows.seek(0, 2)
        name = quote(f"{project.name}-{wanted}.jsonl")
        headers = {
            "Content-Type": "application/jsonl",
            "Content-Length": str(size_bytes),
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Cache-Control": "private, no-store",
        }
        stream = stream_bytes(lambda: made.rows, Span(0, size_bytes))
        return StreamingHttpResponse(stream, headers=headers)


def _take_next(request: Request, project: Project) -> dict[str, Any]:
    answer = work.take_next(by=get_caller(request), project_id=project.pk)
    return _show_work(request, project, answer)


def _show_work(request: Request, project: Project, answer: Answer | None) -> dict[str, Any]:
    viewer = get_caller(request)
    shown = answer and shapes.show_work(project, viewer, answer)
    body = {"work": shown, "num_mine": count_mine(viewer, project)}
    return dict(wire.LabelNextOutput(body).data)
