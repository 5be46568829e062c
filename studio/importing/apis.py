"""Imports at the API: parse, call one service or selector, shape the answer."""

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.viewers import viewer_of
from studio.core.inputs import read_input
from studio.core.pagination import Pages
from studio.importing import serializers as shapes
from studio.importing.selectors import get_import, list_imports
from studio.importing.services import Wish, begin_import, cancel_import, retry_import


class ImportListApi(APIView):
    @extend_schema(
        operation_id="imports_list",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses=shapes.ImportPageOutput,
    )
    def get(self, request: Request) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(list_imports(viewer_of(request)), request, view=self)
        return pages.get_paginated_response(shapes.ImportOutput(page or [], many=True).data)

    @extend_schema(request=shapes.ImportInput, responses={201: shapes.ImportOutput})
    def post(self, request: Request) -> Response:
        wish = Wish(**read_input(shapes.ImportInput, request.data))
        item = begin_import(by=viewer_of(request), wish=wish)
        return Response(shapes.ImportOutput(item).data, status=201)


class ImportApi(APIView):
    @extend_schema(responses=shapes.ImportOutput)
    def get(self, request: Request, import_id: UUID) -> Response:
        return Response(shapes.ImportOutput(get_import(viewer_of(request), import_id)).data)


class ImportCancelApi(APIView):
    @extend_schema(request=None, responses=shapes.ImportOutput)
    def post(self, request: Request, import_id: UUID) -> Response:
        viewer = viewer_of(request)
        item = cancel_import(by=viewer, item=get_import(viewer, import_id))
        return Response(shapes.ImportOutput(item).data)


class ImportRetryApi(APIView):
    @extend_schema(request=shapes.ImportRetryInput, responses=shapes.ImportOutput)
    def post(self, request: Request, import_id: UUID) -> Response:
        viewer = viewer_of(request)
        wish = read_input(shapes.ImportRetryInput, request.data)
        item = retry_import(by=viewer, item=get_import(viewer, import_id), **wish)
        return Response(shapes.ImportOutput(item).data)
