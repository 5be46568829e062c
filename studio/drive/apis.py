"""The drive at the API: parse, call one service or selector, shape the answer. tus: `tus_apis`."""

from typing import Any

from django.db.models import Sum
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.selectors import find_user
from studio.accounts.viewers import viewer_of
from studio.core.errors import BadInput
from studio.core.inputs import read_input
from studio.core.pagination import Pages
from studio.core.permissions import IsOperator
from studio.drive import selectors, services, works
from studio.drive import serializers as shapes
from studio.drive.downloads import answer_file, answer_zip
from studio.drive.errors import say
from studio.drive.health import get_health, get_quota
from studio.drive.models import TrashEntry
from studio.drive.names import parse_name, parse_path
from studio.drive.previews import preview
from studio.drive.spaces import get_use

_FILE = {(200, "application/octet-stream"): OpenApiTypes.BINARY}
_ZIP = {(200, "application/zip"): OpenApiTypes.BINARY}
_PATHS = OpenApiParameter("path", OpenApiTypes.STR, many=True)


class DriveApi(APIView):
    """A view that says the file system's refusals in words."""

    def handle_exception(self, exc: Exception) -> Response:
        """Answer a refusal; a fault of the disk stays a fault."""
        return super().handle_exception(say(exc) if isinstance(exc, OSError) else exc)


def read_query(serializer: type, data: Any) -> dict[str, Any]:
    """Return the validated query of an address."""
    given = serializer(data=data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def read_path(request: Request) -> tuple[str, ...]:
    """Return the path in a query."""
    return parse_path(read_query(shapes.DrivePathInput, request.query_params)["path"])


class DriveUseApi(DriveApi):
    @extend_schema(responses=shapes.DriveUseOutput)
    def get(self, request: Request) -> Response:
        viewer = viewer_of(request)
        use = get_use(viewer)
        trash = TrashEntry.objects.filter(user=viewer).aggregate(sum=Sum("size_bytes"))["sum"]
        said = {
            "used_bytes": use.used_bytes,
            "quota_bytes": use.quota_bytes,
            "trash_bytes": trash or 0,
        }
        return Response(shapes.DriveUseOutput(said).data)


class DriveListApi(DriveApi):
    @extend_schema(parameters=[shapes.DriveListInput], responses=shapes.DriveListOutput)
    def get(self, request: Request) -> Response:
        wish = read_query(shapes.DriveListInput, request.query_params)
        page = selectors.Page(sort=wish["sort"], number=wish["page"], size=wish["page_size"])
        listed = selectors.list_folder(viewer_of(request), parse_path(wish["path"]), page)
        return Response(shapes.DriveListOutput(listed).data)


class DriveTreeApi(DriveApi):
    @extend_schema(parameters=[shapes.DrivePathInput], responses=shapes.DriveTreeOutput)
    def get(self, request: Request) -> Response:
        folders = selectors.list_folders(viewer_of(request), read_path(request))
        return Response(shapes.DriveTreeOutput(folders).data)


class DriveSearchApi(DriveApi):
    @extend_schema(parameters=[shapes.DriveSearchInput], responses=shapes.DriveFoundOutput)
    def get(self, request: Request) -> Response:
        wish = read_query(shapes.DriveSearchInput, request.query_params)
        found = selectors.search(viewer_of(request), parse_path(wish["path"]), wish["q"])
        return Response(shapes.DriveFoundOutput(found).data)


class DriveFolderApi(DriveApi):
    @extend_schema(request=shapes.DriveNewFolderInput, responses={201: shapes.DrivePathOutput})
    def post(self, request: Request) -> Response:
        path = read_input(shapes.DriveNewFolderInput, request.data)["path"]
        services.make_folder(by=viewer_of(request), parts=parse_path(path, is_new=True))
        return Response({"path": path}, status=201)


class DriveRenameApi(DriveApi):
    @extend_schema(request=shapes.DriveRenameInput, responses=shapes.DrivePathOutput)
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.DriveRenameInput, request.data)
        parts, name = parse_path(wish["path"]), parse_name(wish["name"])
        return Response({"path": services.rename(by=viewer_of(request), parts=parts, name=name)})


class DriveMoveApi(DriveApi):
    @extend_schema(request=shapes.DriveMoveInput, responses=shapes.DrivePathsOutput)
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.DriveMoveInput, request.data)
        paths = [parse_path(path, field="paths") for path in wish["paths"]]
        target = parse_path(wish["target"], field="target")
        return Response({"paths": services.move(by=viewer_of(request), paths=paths, target=target)})


class DriveFileApi(DriveApi):
    @extend_schema(
        parameters=[
            shapes.DrivePathInput,
            OpenApiParameter("shown", bool, description="Lets an image open in the page."),
        ],
        responses=_FILE,
    )
    def get(self, request: Request) -> HttpResponseBase:
        is_shown = "shown" in request.query_params
        parts = read_path(request)
        return answer_file(request._request, viewer_of(request), parts, is_shown=is_shown)

    @extend_schema(exclude=True)
    def head(self, request: Request) -> HttpResponseBase:
        return self.get(request)


class DriveArchiveApi(DriveApi):
    @extend_schema(parameters=[_PATHS], responses=_ZIP)
    def get(self, request: Request) -> HttpResponseBase:
        given = request.query_params.getlist("path")
        if not 1 <= len(given) <= 1000:
            raise BadInput(
                "path: name one to 1000 things to download.",
                field="path",
                code="bad_num_paths",
                most=1000,
            )
        paths = [parse_path(path) for path in given]
        name = paths[0][-1] if len(paths) == 1 and paths[0] else "drive"
        return answer_zip(viewer_of(request), paths, name)


class DriveTextApi(DriveApi):
    @extend_schema(
        request=shapes.DriveTextInput,
        parameters=[
            OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="Its ETag."),
            OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="*: new."),
        ],
        responses=shapes.DriveWrittenOutput,
    )
    def put(self, request: Request) -> Response:
        wish = read_input(shapes.DriveTextInput, request.data)
        etag = request.headers.get("If-Match")
        if etag is None and request.headers.get("If-None-Match") != "*":
            raise BadInput(
                "If-Match: send the ETag that was read, or If-None-Match: * for a new file.",
                field="If-Match",
                code="etag_missing",
            )
        parts = parse_path(wish["path"], is_new=etag is None)
        written = services.write_text(
            by=viewer_of(request), parts=parts, text=wish["text"], etag=etag
        )
        return Response({"path": wish["path"], "etag": written}, headers={"ETag": written})


class DrivePreviewApi(DriveApi):
    @extend_schema(parameters=[shapes.DrivePathInput], responses=shapes.DrivePreviewOutput)
    def get(self, request: Request) -> Response:
        shown = preview(viewer_of(request), read_path(request))
        return Response(shapes.DrivePreviewOutput(shown).data)


class DriveTrashApi(DriveApi):
    @extend_schema(
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses=shapes.DriveTrashPageOutput,
    )
    def get(self, request: Request) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(selectors.list_trash(viewer_of(request)), request, view=self)
        return pages.get_paginated_response(shapes.DriveTrashOutput(page or [], many=True).data)

    @extend_schema(request=shapes.DrivePathsInput, responses=shapes.DriveTrashedOutput)
    def post(self, request: Request) -> Response:
        given = read_input(shapes.DrivePathsInput, request.data)["paths"]
        paths = [parse_path(path, field="paths") for path in given]
        entries = services.trash(by=viewer_of(request), paths=paths)
        return Response(shapes.DriveTrashedOutput({"entries": entries}).data)

    @extend_schema(responses=shapes.DriveDeletedOutput)
    def delete(self, request: Request) -> Response:
        return Response({"num_deleted": services.empty_trash(by=viewer_of(request))})


class DriveTrashEntryApi(DriveApi):
    @extend_schema(operation_id="drive_trash_entry_destroy", responses={204: None})
    def delete(self, request: Request, entry_id: Any) -> Response:
        services.empty_trash(by=viewer_of(request), entry_id=entry_id)
        return Response(status=204)


class DriveRestoreApi(DriveApi):
    @extend_schema(request=None, responses=shapes.DrivePathOutput)
    def post(self, request: Request, entry_id: Any) -> Response:
        return Response({"path": services.restore(by=viewer_of(request), entry_id=entry_id)})


class DriveWorkListApi(DriveApi):
    @extend_schema(responses=shapes.DriveWorkOutput(many=True))
    def get(self, request: Request) -> Response:
        latest = selectors.list_works(viewer_of(request))[:50]
        return Response(shapes.DriveWorkOutput(latest, many=True).data)

    @extend_schema(request=shapes.DriveWorkInput, responses={201: shapes.DriveWorkOutput})
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.DriveWorkInput, request.data)
        work = works.submit_work(
            by=viewer_of(request),
            kind=wish["kind"],
            paths=[parse_path(path, field="paths") for path in wish["paths"]],
            target=parse_path(wish["target"], field="target"),
            name=wish["name"],
        )
        return Response(shapes.DriveWorkOutput(work).data, status=201)


class DriveWorkApi(DriveApi):
    @extend_schema(responses=shapes.DriveWorkOutput)
    def get(self, request: Request, work_id: Any) -> Response:
        return Response(
            shapes.DriveWorkOutput(selectors.get_work(viewer_of(request), work_id)).data
        )

    @extend_schema(responses=shapes.DriveWorkOutput)
    def delete(self, request: Request, work_id: Any) -> Response:
        viewer = viewer_of(request)
        work = works.cancel_work(by=viewer, work=selectors.get_work(viewer, work_id))
        return Response(shapes.DriveWorkOutput(work).data)


class DriveHealthApi(DriveApi):
    permission_classes = [IsOperator]

    @extend_schema(responses=shapes.DriveHealthOutput)
    def get(self, request: Request) -> Response:
        return Response(shapes.DriveHealthOutput(get_health()).data)


class DriveQuotaApi(DriveApi):
    permission_classes = [IsOperator]

    @extend_schema(responses=shapes.DriveQuotaOutput)
    def get(self, request: Request, username: str) -> Response:
        user = find_user(viewer_of(request), username)
        return Response(shapes.DriveQuotaOutput(get_quota(user)).data)

    @extend_schema(request=shapes.DriveQuotaInput, responses=shapes.DriveQuotaOutput)
    def put(self, request: Request, username: str) -> Response:
        wish = read_input(shapes.DriveQuotaInput, request.data)
        user = services.set_quota(by=viewer_of(request), username=username, **wish)
        return Response(shapes.DriveQuotaOutput(get_quota(user)).data)
