"""Which revision of each model answers, for operators."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.pagination import Pages
from studio.core.permissions import IsOperator
from studio.core.sentences import find_told
from studio.hub.callers import get_caller
from studio.serving.models import Rollout
from studio.serving.rollouts import follow_head, get_rollout, list_rollouts, roll_back
from studio.serving.serializers import RolloutOutput, RolloutPageOutput


class RolloutListApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(
        operation_id="rollouts_list",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses=RolloutPageOutput,
    )
    def get(self, request: Request) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(list_rollouts(), request, view=self) or []
        return pages.get_paginated_response([_show(rollout) for rollout in page])


class RollbackApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(operation_id="rollouts_roll_back", request=None, responses=RolloutOutput)
    def post(self, request: Request, rollout_id: int) -> Response:
        return Response(_show(roll_back(by=get_caller(request), rollout=get_rollout(rollout_id))))


class FollowApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(operation_id="rollouts_follow", request=None, responses=RolloutOutput)
    def post(self, request: Request, rollout_id: int) -> Response:
        return Response(_show(follow_head(by=get_caller(request), rollout=get_rollout(rollout_id))))


def _show(rollout: Rollout) -> dict[str, object]:
    rollout.told = find_told(rollout.message)  # type: ignore[attr-defined]
    return dict(RolloutOutput(rollout).data)
