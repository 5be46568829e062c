"""The dataset viewer at the dashboard's API: parse, call one selector, shape the answer."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.hub.access import check_may_read
from studio.hub.apis import read
from studio.hub.callers import get_caller
from studio.hub.models import Commit, Kind
from studio.hub.selectors import get_commit, get_file, get_repo
from studio.hub.serializers import RevisionInput
from studio.hub.viewer import serializers as shapes
from studio.hub.viewer.cells import Cell
from studio.hub.viewer.selectors import (
    ShownRow,
    TablePage,
    get_statistics,
    list_tables,
    read_media,
    read_page,
)
from studio.hub.viewer.splits import FOLDER, MEDIA


class ViewerTablesApi(APIView):
    @extend_schema(parameters=[RevisionInput], responses=shapes.ViewerTablesOutput)
    def get(self, request: Request, namespace: str, name: str) -> Response:
        wanted = read(RevisionInput, request.query_params)
        configs = list_tables(_find(request, namespace, name, wanted["revision"]))
        for split in (split for config in configs for split in config.splits):
            if split.format == FOLDER:
                split.paths = []
        return Response(shapes.ViewerTablesOutput({"configs": configs}).data)


class ViewerRowsApi(APIView):
    @extend_schema(parameters=[shapes.ViewerRowsInput], responses=shapes.ViewerPageOutput)
    def get(self, request: Request, namespace: str, name: str) -> Response:
        wanted = read(shapes.ViewerRowsInput, request.query_params)
        commit = _find(request, namespace, name, wanted["revision"])
        if not wanted["path"]:
            page = _show_folder(commit, wanted)
        else:
            file = get_file(commit, wanted["path"])
            asked = {key: wanted[key] for key in ("offset", "limit", "search")}
            page = read_page(file.blob, file.path, **asked)
        base = request.path.removesuffix("rows/") + "media/"
        rows = [
            {"index": row.index, "cells": _show_cells(base, commit, wanted["path"], page, row)}
            for row in page.rows
        ]
        return Response(shapes.ViewerPageOutput(vars(page) | {"rows": rows}).data)


class ViewerStatisticsApi(APIView):
    @extend_schema(parameters=[shapes.ViewerFileInput], responses=shapes.ViewerStatisticsOutput)
    def get(self, request: Request, namespace: str, name: str) -> Response:
        wanted = read(shapes.ViewerFileInput, request.query_params)
        commit = _find(request, namespace, name, wanted["revision"])
        file = get_file(commit, wanted["path"])
        return Response(get_statistics(file.blob, file.path))


class ViewerMediaApi(APIView):
    @extend_schema(parameters=[shapes.ViewerMediaInput], responses={(200, "image/*"): bytes})
    def get(self, request: Request, namespace: str, name: str) -> HttpResponse:
        wanted = read(shapes.ViewerMediaInput, request.query_params)
        commit = _find(request, namespace, name, wanted["revision"])
        file = get_file(commit, wanted["path"])
        content, media = read_media(
            file.blob, file.path, row=wanted["row"], column=wanted["column"]
        )
        headers = {
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, max-age=3600",
        }
        return HttpResponse(content, content_type=media, headers=headers)


def _find(request: Request, namespace: str, name: str, revision: str) -> Commit:
    repo = get_repo(get_caller(request), Kind.DATASET, namespace, name)
    check_may_read(get_caller(request), repo)
    return get_commit(repo, revision)


def _show_cells(
    base: str, commit: Commit, path: str, page: TablePage, row: ShownRow
) -> list[dict[str, Any]]:
    cells = []
    for name, cell in zip(page.columns, row.cells, strict=True):
        shown = vars(cell)
        if cell.kind in {"image", "audio"} and not cell.url:
            where = {"revision": commit.sha, "path": path, "row": row.index, "column": name}
            shown = shown | {"url": f"{base}?{urlencode(where)}"}
        elif cell.url:
            where = {"revision": commit.sha, "path": cell.url}
            shown = shown | {"url": f"{base}?{urlencode(where)}"}
        cells.append(shown)
    return cells


def _show_folder(commit: Commit, wanted: dict[str, Any]) -> TablePage:
    """Show pictures and sounds as rows: the file, its name, and its folder as its label."""
    paths = [
        path
        for config in list_tables(commit)
        for split in config.splits
        if split.format == FOLDER
        and wanted["config"] in {"", config.name}
        and wanted["split"] in {"", split.name}
        for path in split.paths
    ]
    word = wanted["search"].casefold()
    found = [(n, path) for n, path in enumerate(paths) if word in path.casefold()]
    end = wanted["offset"] + wanted["limit"]
    page = TablePage(["file", "name", "label"], ["media", "text", "text"], total=len(found))
    page.has_more, page.num_seen = end < len(found), len(paths)
    for index, path in found[wanted["offset"] : end]:
        folder, _, name = path.rpartition("/")
        kind = MEDIA[path.rpartition(".")[2].lower()]
        cells = [Cell(kind, name, url=path), Cell("text", path), Cell("text", folder)]
        page.rows.append(ShownRow(index, cells))
    return page
