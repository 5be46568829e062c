"""Deployments at the dashboard's API."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.pagination import Pages
from studio.core.permissions import IsOperator
from studio.core.sentences import find_told
from studio.hub.callers import get_caller
from studio.serving.health import ask_health
from studio.serving.models import Deployment
from studio.serving.selectors import get_deployment, list_deployments
from studio.serving.serializers import (
    DeploymentHealthOutput,
    DeploymentOutput,
    DeploymentPageOutput,
)
from studio.serving.services import restart_deployment, stop_deployment
from studio.serving.serving_settings import find_outdated


class DeploymentListApi(APIView):
    @extend_schema(
        operation_id="deployments_list",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses=DeploymentPageOutput,
    )
    def get(self, request: Request) -> Response:
        pages = Pages()
        found = list_deployments(get_caller(request))
        page = pages.paginate_queryset(found, request, view=self) or []
        outdated = find_outdated(page)
        shown = [_show(each, request, is_outdated=each.pk in outdated) for each in page]
        return pages.get_paginated_response(DeploymentOutput(shown, many=True).data)


class DeploymentStopApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(request=None, responses=DeploymentOutput)
    def post(self, request: Request, deployment_id: UUID) -> Response:
        deployment = get_deployment(get_caller(request), deployment_id)
        stop_deployment(by=get_caller(request), deployment=deployment)
        return _answer(request, deployment_id)


class DeploymentRestartApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(request=None, responses=DeploymentOutput)
    def post(self, request: Request, deployment_id: UUID) -> Response:
        """Stop it and start it anew as its model is to be served now; answers with the new one."""
        caller = get_caller(request)
        old = get_deployment(caller, deployment_id)
        return _answer(request, restart_deployment(by=caller, deployment=old).pk)


class DeploymentHealthApi(APIView):
    @extend_schema(operation_id="deployments_health", responses=DeploymentHealthOutput)
    def get(self, request: Request, deployment_id: UUID) -> Response:
        """Ask the deployment's server how it is; what it counts is told to operators alone.

        From the counts of a server that is shared, one could read how long others' requests are.
        """
        caller = get_caller(request)
        told = ask_health(get_deployment(caller, deployment_id))
        if not caller.has_role("operator"):
            told["facts"] = {}
        return Response(DeploymentHealthOutput(told).data)


def _answer(request: Request, deployment_id: UUID) -> Response:
    found = get_deployment(get_caller(request), deployment_id)
    is_outdated = bool(find_outdated([found]))
    return Response(DeploymentOutput(_show(found, request, is_outdated=is_outdated)).data)


def _show(deployment: Deployment, request: Request, *, is_outdated: bool) -> dict[str, Any]:
    run = deployment.job.current_run if deployment.job else None
    is_operator = get_caller(request).has_role("operator")
    return {
        "id": deployment.pk,
        "model": deployment.model,
        "revision": deployment.revision,
        "status": deployment.status,
        "message": deployment.message,
        "told": find_told(deployment.message),
        "node": run.node.name if run and run.node else None,
        # An adapter's name may be somebody's secret.
        "adapters": deployment.adapters if is_operator else [],
        "started_at": deployment.started_at,
        "last_used_at": deployment.last_used_at,
        "job_id": deployment.job_id,
        "is_retiring": deployment.is_retiring,
        "is_outdated": is_outdated,
    }
