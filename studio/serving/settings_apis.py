"""How models are served, at the dashboard's API."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engine.specs import ServeSpec
from studio.accounts.models import User
from studio.compute.models import Flavor, Node
from studio.compute.selectors import get_why_not, list_online_nodes
from studio.core.pagination import Pages
from studio.core.permissions import IsOperator
from studio.hub.callers import get_caller
from studio.hub.models import Repo
from studio.serving.models import ServingSettings
from studio.serving.selectors import list_going
from studio.serving.serializers import (
    ServingSettingsInput,
    ServingSettingsLineOutput,
    ServingSettingsOutput,
    ServingSettingsPageOutput,
)
from studio.serving.serving_settings import (
    FLAVOR,
    change_settings,
    find_settable,
    find_settings,
    list_serving_flavors,
    list_settable,
    list_settings,
)


class ServingSettingsListApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(
        operation_id="serving_settings_list",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses=ServingSettingsPageOutput,
    )
    def get(self, request: Request) -> Response:
        pages = Pages()
        found = list_settings(get_caller(request))
        page = pages.paginate_queryset(found, request, view=self) or []
        shown = [_show_line(each.repo, each) for each in page]
        return pages.get_paginated_response(ServingSettingsLineOutput(shown, many=True).data)


class ServingSettingsApi(APIView):
    @extend_schema(operation_id="serving_settings_read", responses=ServingSettingsOutput)
    def get(self, request: Request, namespace: str, name: str) -> Response:
        caller = get_caller(request)
        return _answer(caller, find_settable(caller, namespace, name))

    @extend_schema(
        operation_id="serving_settings_change",
        request=ServingSettingsInput,
        responses=ServingSettingsOutput,
    )
    def put(self, request: Request, namespace: str, name: str) -> Response:
        caller = get_caller(request)
        repo = find_settable(caller, namespace, name)
        given = ServingSettingsInput(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        change_settings(by=caller, repo=repo, spec=wanted["spec"], flavor_name=wanted["flavor"])
        return _answer(caller, repo)

    @extend_schema(operation_id="serving_settings_forget", responses=ServingSettingsOutput)
    def delete(self, request: Request, namespace: str, name: str) -> Response:
        """Serve it as all models are; an owner takes back the threshold alone."""
        caller = get_caller(request)
        repo = find_settable(caller, namespace, name)
        change_settings(by=caller, repo=repo, spec={})
        return _answer(caller, repo)


def _answer(caller: User, repo: Repo) -> Response:
    settable = list_settable(caller)
    shown = _show_line(repo, find_settings(repo))
    shown["spec"] = {k: v for k, v in shown["spec"].items() if k in settable}
    shown |= {"schema": _make_schema(settable), "flavors": [], "running": list_going(repo.repo_id)}
    if caller.has_role("operator"):
        nodes = list_online_nodes()
        shown["flavors"] = [_show_flavor(each, nodes) for each in list_serving_flavors()]
    else:
        shown["flavor"] = None
    return Response(ServingSettingsOutput(shown).data)


def _show_line(repo: Repo, found: ServingSettings | None) -> dict[str, Any]:
    return {
        "model": repo.repo_id,
        "flavor": found.flavor.name if found and found.flavor else None,
        "spec": found.spec if found else {},
        "changed_by": found.changed_by.username if found and found.changed_by else None,
        "changed_at": found.changed_at if found else None,
    }


def _make_schema(settable: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of these fields. One that hangs on another, which the caller neither sees
    nor sets, is asked for all the same."""
    schema = ServeSpec.model_json_schema()
    fields = {name: field for name, field in schema["properties"].items() if name in settable}
    for field in fields.values():
        if not set(field.get("only", {})) <= set(settable):
            del field["only"]
    return {**schema, "properties": fields, "required": []}


def _show_flavor(flavor: Flavor, nodes: list[Node]) -> dict[str, Any]:
    return {
        "name": flavor.name,
        "title": flavor.title,
        "cores": flavor.cores,
        "memory_bytes": flavor.memory_bytes,
        "num_devices": flavor.num_devices,
        "price_mpoints_per_hour": flavor.price_mpoints_per_hour,
        "is_usual": flavor.name == FLAVOR,
        "is_available": get_why_not(flavor, nodes) is None,
    }
