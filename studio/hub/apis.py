"""Repos at the dashboard's API: parse, call one service or selector, shape the answer."""

from typing import Any

from django.http import HttpRequest
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.errors import BadInput
from studio.core.inputs import read_input
from studio.core.pagination import Pages
from studio.hub import serializers as shapes
from studio.hub.access import check_may_read, get_rights
from studio.hub.browse.licences import name_licence
from studio.hub.callers import get_caller
from studio.hub.cards import Description
from studio.hub.catalogue.models import LabelKind
from studio.hub.catalogue.negotiation import FormatIsOurs
from studio.hub.catalogue.search import RepoSearch, search_repos
from studio.hub.catalogue.selectors import is_liked_by
from studio.hub.datafiles import check_open_file
from studio.hub.datasets import NewDataset, keep_good_rows, upload_dataset
from studio.hub.models import CatalogueEntry, Kind, RefKind, Repo
from studio.hub.refs import MAIN
from studio.hub.reports import check_file, get_data_file
from studio.hub.rows import read_rows
from studio.hub.selectors import (
    RepoDetail,
    describe_repo,
    get_commit,
    get_dataset_report,
    get_repo,
    is_owner,
    predict_memory_bytes,
)
from studio.hub.services import delete_repo, update_repo
from studio.hub.uploads import check_upload, name_data_file


def read(serializer: type, data: Any) -> dict[str, Any]:
    """Return the validated query of an address; parts that nobody knows are passed over."""
    given = serializer(data=data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def read_search(request: Request) -> RepoSearch:
    """Return what an address seeks; what is left empty narrows nothing."""
    return RepoSearch(**read(shapes.RepoListInput, _without_blanks(request)))


class RepoListApi(APIView):
    content_negotiation_class = FormatIsOurs

    @extend_schema(
        operation_id="hub_repos_list",
        parameters=[
            shapes.RepoListInput,
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=shapes.RepoPageOutput,
    )
    def get(self, request: Request) -> Response:
        wanted = read_search(request)
        pages = Pages()
        found = search_repos(get_caller(request), wanted)
        page = pages.paginate_queryset(found, request, view=self)
        shown = [_show(repo, request) for repo in page or []]
        return pages.get_paginated_response(shapes.RepoOutput(shown, many=True).data)


class RepoApi(APIView):
    @extend_schema(parameters=[shapes.RevisionInput], responses=shapes.RepoDetailOutput)
    def get(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        wanted = read(shapes.RevisionInput, request.query_params)
        repo = get_repo(get_caller(request), kind, namespace, name)
        return _answer(repo, request, wanted["revision"])

    @extend_schema(request=shapes.RepoUpdateInput, responses=shapes.RepoDetailOutput)
    def patch(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        wish = read_input(shapes.RepoUpdateInput, request.data)
        repo = get_repo(get_caller(request), kind, namespace, name)
        update_repo(by=get_caller(request), repo=repo, **wish)
        return _answer(get_repo(get_caller(request), kind, namespace, name), request)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        delete_repo(
            by=get_caller(request), repo=get_repo(get_caller(request), kind, namespace, name)
        )
        return Response(status=204)


class RepoRowsApi(APIView):
    @extend_schema(parameters=[shapes.DatasetRowsInput], responses=shapes.DatasetRowsOutput)
    def get(self, request: Request, namespace: str, name: str) -> Response:
        wanted = read(shapes.DatasetRowsInput, request.query_params)
        repo = get_repo(get_caller(request), Kind.DATASET, namespace, name)
        check_may_read(get_caller(request), repo)
        _, blob = get_data_file(get_commit(repo, wanted["revision"]))
        page = read_rows(
            blob, offset=wanted["offset"], limit=wanted["limit"], search=wanted["search"]
        )
        rows = [
            {
                "line": row.line,
                "row": row.row,
                "raw": row.raw,
                "problems": [problem.model_dump() for problem in row.problems],
            }
            for row in page.rows
        ]
        body = {"columns": page.columns, "total": page.total, "offset": page.offset, "rows": rows}
        return Response(body)


class RepoReportApi(APIView):
    @extend_schema(parameters=[shapes.RevisionInput], responses=shapes.DatasetReportOutput)
    def get(self, request: Request, namespace: str, name: str) -> Response:
        wanted = read(shapes.RevisionInput, request.query_params)
        repo = get_repo(get_caller(request), Kind.DATASET, namespace, name)
        check_may_read(get_caller(request), repo)
        return Response(get_dataset_report(get_commit(repo, wanted["revision"])).model_dump())


class KeepGoodRowsApi(APIView):
    @extend_schema(request=None, responses=shapes.RepoDetailOutput)
    def post(self, request: Request, namespace: str, name: str) -> Response:
        repo = get_repo(get_caller(request), Kind.DATASET, namespace, name)
        keep_good_rows(by=get_caller(request), repo=repo)
        return _answer(get_repo(get_caller(request), Kind.DATASET, namespace, name), request)


class DatasetCheckApi(APIView):
    required_scope = "read"
    parser_classes = [MultiPartParser]

    @extend_schema(
        request={"multipart/form-data": shapes.DatasetCheckInput},
        responses={200: shapes.DatasetReportOutput},
    )
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.DatasetCheckInput, request.data)
        upload = wish["file"]
        file, path = check_upload(upload), name_data_file(upload.name)
        if path.endswith(".jsonl"):
            return Response(check_file(file)[0].model_dump())
        try:
            return Response(check_open_file(file, path, size=upload.size).model_dump())
        except BadInput as error:  # it speaks of a launch's field, and this is a file's door
            message = error.message.replace("spec.dataset:", "file:", 1)
            raise BadInput(message, field="file", code=error.code, **error.params) from error


class DatasetUploadApi(APIView):
    parser_classes = [MultiPartParser]

    @extend_schema(
        request={"multipart/form-data": shapes.DatasetUploadInput},
        responses={201: shapes.RepoDetailOutput},
    )
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.DatasetUploadInput, request.data)
        upload = wish.pop("file")
        wanted = NewDataset(**wish, path=name_data_file(upload.name))
        repo = upload_dataset(by=get_caller(request), file=check_upload(upload), wanted=wanted)
        return _answer(repo, request, status=201)


def _without_blanks(request: HttpRequest | Request) -> dict[str, str]:
    """A filter left empty in an address narrows nothing."""
    return {name: value for name, value in request.GET.items() if isinstance(value, str) and value}


def _answer(repo: Repo, request: Request, revision: str = "main", *, status: int = 200) -> Response:
    detail = describe_repo(get_caller(request), repo, revision)
    shown = shapes.RepoDetailOutput(_show_detail(detail, request)).data
    return Response(shown, status=status)


def _show(repo: Repo, request: Request) -> dict[str, Any]:
    return {
        "id": repo.repo_id,
        "kind": repo.kind,
        "role": repo.role,
        "owner": repo.owner.username,
        "summary": repo.summary or repo.card_summary,
        "visibility": repo.visibility,
        "license": repo.license,
        "base_model": repo.base_model or None,
        "tags": repo.tags,
        "size_bytes": repo.size_bytes,
        "num_rows": repo.num_rows,
        "revision": repo.head.sha if repo.head else "",
        "updated_at": repo.updated_at,
        "created_at": repo.created_at,
        "downloads": repo.downloads,
        "is_mine": is_owner(get_caller(request), repo),
    } | _show_noted(repo, request)


def _show_noted(repo: Repo, request: Request) -> dict[str, Any]:
    entry = getattr(repo, "entry", None) or CatalogueEntry()
    labels = list(repo.labels.all())
    liked = getattr(repo, "is_liked", None)
    return {
        "likes": entry.num_likes,
        "is_liked": is_liked_by(get_caller(request), repo) if liked is None else liked,
        "task": entry.task,
        "library": entry.library,
        "base_relation": entry.base_relation,
        "num_params": entry.num_params,
        "languages": [label.value for label in labels if label.kind == LabelKind.LANGUAGE],
        "modalities": [label.value for label in labels if label.kind == LabelKind.MODALITY],
        "formats": [label.value for label in labels if label.kind == LabelKind.FORMAT],
    }


def _show_detail(detail: RepoDetail, request: Request) -> dict[str, Any]:
    shape = detail.shape
    facts = shape and {
        **shape.model_dump(),
        "memory_bytes": predict_memory_bytes(shape.num_params),
    }
    body = _show(detail.repo, request)
    if detail.commit is not None:
        body["revision"] = detail.commit.sha
        body["size_bytes"] = sum(file.blob.size_bytes for file in detail.files)
    if detail.told is not None:
        body |= _show_told(detail.told)
    if detail.report is not None:
        body["num_rows"] = detail.report.scale(detail.report.num_rows)
    rights = get_rights(get_caller(request), detail.repo)
    return body | {
        "gate": detail.repo.gate,
        "can": {"read": rights.read, "write": rights.write, "manage": rights.manage},
        "asked": rights.asked,
        "card": detail.card.text,
        "metadata": detail.card.metadata,
        "files": [
            {"path": f.path, "size_bytes": f.blob.size_bytes, "sha256": f.blob_id}
            for f in detail.files
        ],
        "revisions": [
            {
                "revision": commit.sha,
                "message": commit.message,
                "author": commit.author.username if commit.author else "",
                "created_at": commit.created_at,
                "tags": [],
            }
            for commit in detail.revisions
        ],
        "refs": _show_refs(detail),
        "facts": facts,
        "weights": _show_weights(detail),
        "license_name": name_licence(body["license"]),
        "adapters": detail.adapters,
        "quality": detail.quality.model_dump(mode="json") if detail.quality else None,
        "is_quantized": detail.is_quantized,
        "provenance": detail.provenance,
        "report": detail.report.model_dump() if detail.report and rights.read else None,
    }


def _show_weights(detail: RepoDetail) -> dict[str, Any] | None:
    weights, shape = detail.weights, detail.shape
    if weights is None:
        return None
    is_packed = detail.is_quantized and shape is not None  # fewer numbers than the model has
    num_params = shape.num_params if shape and is_packed else weights.num_params
    memory = predict_memory_bytes(num_params)
    return {**weights.model_dump(), "num_params": num_params, "memory_bytes": memory}


def _show_told(told: Description) -> dict[str, Any]:
    return {
        "role": told.role,
        "license": told.license,
        "base_model": told.base_model or None,
        "tags": told.tags,
    }


def _show_refs(detail: RepoDetail) -> list[dict[str, str]]:
    head = detail.repo.head
    main = [{"name": MAIN, "kind": RefKind.BRANCH.value, "revision": head.sha}] if head else []
    return main + [
        {"name": ref.name, "kind": ref.kind, "revision": ref.commit.sha} for ref in detail.refs
    ]
