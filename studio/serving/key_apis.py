"""API keys, and what was asked with them, at the dashboard's API."""

from dataclasses import asdict
from datetime import timedelta

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.errors import BadInput
from studio.core.inputs import read_input
from studio.core.pagination import Pages
from studio.core.permissions import SignedInByBrowser
from studio.hub.callers import get_caller
from studio.serving import serializers as shapes
from studio.serving.keys import KeyWish, create_key, get_key, list_keys, revoke_key
from studio.serving.metering import list_days

_MOST_DAYS = 366


class ApiKeyListApi(APIView):
    permission_classes = [SignedInByBrowser]

    @extend_schema(
        operation_id="api_keys_list",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses=shapes.ApiKeyPageOutput,
    )
    def get(self, request: Request) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(list_keys(get_caller(request)), request, view=self)
        return pages.get_paginated_response(shapes.ApiKeyOutput(page, many=True).data)

    @extend_schema(
        operation_id="api_keys_create",
        request=shapes.ApiKeyCreateInput,
        responses={201: shapes.ApiKeyCreatedOutput},
    )
    def post(self, request: Request) -> Response:
        given = read_input(shapes.ApiKeyCreateInput, request.data)
        wish = KeyWish(**{**given, "models": tuple(given["models"])})
        key, raw = create_key(user=get_caller(request), wish=wish)
        return Response({**shapes.ApiKeyOutput(key).data, "key": raw}, status=201)


class ApiKeyApi(APIView):
    permission_classes = [SignedInByBrowser]

    @extend_schema(operation_id="api_keys_destroy", request=None, responses={204: None})
    def delete(self, request: Request, key_id: int) -> Response:
        caller = get_caller(request)
        revoke_key(by=caller, key=get_key(caller, key_id))
        return Response(status=204)


class UseListApi(APIView):
    @extend_schema(
        operation_id="model_uses_list",
        parameters=[
            OpenApiParameter("days", int, description=f"How far back: 1 to {_MOST_DAYS}."),
            OpenApiParameter("key", int, description="Only what was asked with this API key."),
        ],
        responses=shapes.DayUseOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """List the caller's own uses of models by day."""
        days = _read_number(request, "days", 30)
        if not 1 <= days <= _MOST_DAYS:
            raise BadInput(
                f"days: write 1 to {_MOST_DAYS}.", field="days", code="bad_days", most=_MOST_DAYS
            )
        caller = get_caller(request)
        key_id = _read_number(request, "key", 0) or None
        if key_id is not None:
            get_key(caller, key_id)
        begin = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        uses = list_days(caller, since=begin - timedelta(days=days - 1), key_id=key_id)
        return Response(shapes.DayUseOutput([asdict(use) for use in uses], many=True).data)


def _read_number(request: Request, name: str, otherwise: int) -> int:
    given = request.query_params.get(name, "")
    if not given:
        return otherwise
    if not given.isascii() or not given.isdigit() or len(given) > 12:
        raise BadInput(f"{name}: write a whole number.", field=name, code="int_type")
    return int(given)
