"""Answers that carry a stored file: ranges, ETags, and bytes streamed without blocking the server.

HTTP ranges as in RFC 9110, section 14: one range at a time; several are answered with the whole.
"""

import asyncio
import mimetypes
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from studio.hub.content import prepare_open
from studio.hub.models import Blob, CommitFile, Kind
from studio.hub.storage import get_store

_PIECE_BYTES = 2**20
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
_TEXT = {".md", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".csv", ".jinja"}
# Other people's files are data: nothing in them runs on the studio's own origin.
_SANDBOX = "sandbox; default-src 'none'"


@dataclass(frozen=True)
class Span:
    """Some bytes of a file: from `start`, `length` of them."""

    start: int
    length: int


class RangeNotThere(ValueError):
    """The range lies behind the file's end."""


def read_range(header: str, size_bytes: int) -> Span | None:
    """Return the span that a Range header asks for; None is the whole file.

    Raises:
        RangeNotThere: it asks for bytes that the file does not have.
    """
    match = _RANGE.match(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        length = min(int(last), size_bytes)
        start = size_bytes - length
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        end = min(int(last), size_bytes - 1) if last else size_bytes - 1
        length = end - start + 1
    if length <= 0 or start >= size_bytes:
        raise RangeNotThere
    return Span(start, length)


def answer_file(request: HttpRequest, file: CommitFile) -> HttpResponseBase:
    """Answer a GET or HEAD of a file."""
    size_bytes, etag = file.blob.size_bytes, f'"{file.blob.etag}"'
    headers = _describe(request, file, etag)
    if etag in request.headers.get("If-None-Match", "").replace("W/", "").split(", "):
        return HttpResponse(status=304, headers=headers)
    if request.method == "GET" and (path := find_accel(request, file.blob)):
        return HttpResponse(headers=headers | {"X-Accel-Redirect": path})
    try:
        span = _pick_span(request, size_bytes, etag)
    except RangeNotThere:
        headers["Content-Range"] = f"bytes */{size_bytes}"
        return HttpResponse(status=416, headers=headers)
    if span is not None:
        last = span.start + span.length - 1
        headers["Content-Range"] = f"bytes {span.start}-{last}/{size_bytes}"
    whole = span or Span(0, size_bytes)
    status = 200 if span is None else 206
    headers["Content-Length"] = str(whole.length)
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers)
    stream = stream_bytes(prepare_open(file.blob), whole)
    return StreamingHttpResponse(stream, status=status, headers=headers)


async def stream_bytes(open_file: Callable[[], BinaryIO], span: Span) -> AsyncIterator[bytes]:
    """Yield a span of a file, read by a thread so that other requests go on."""
    file = await asyncio.to_thread(open_file)
    try:
        await asyncio.to_thread(file.seek, span.start)
        left = span.length
        while left > 0:
            piece = await asyncio.to_thread(file.read, min(_PIECE_BYTES, left))
            if not piece:
                raise OSError("a stored file is shorter than the hub knows")
            left -= len(piece)
            yield piece
    finally:
        file.close()


def find_accel(request: HttpRequest, blob: Blob) -> str | None:
    """Return where the proxy finds a file that lies whole on this machine; None elsewhere."""
    prefix = get_accel_prefix(request)
    if not prefix or blob.xet_id or not get_store().find_path(blob.sha256):
        return None
    name = blob.sha256
    return f"{prefix}/blobs/{name[:2]}/{name[2:4]}/{name}"


def get_accel_prefix(request: HttpRequest) -> str:
    """Return the proxy's address for the hub's folder; empty where the request came by none.

    Nodes ask the web process itself: what the proxy would send, they have to be sent.
    """
    prefix = str(settings.HUB_ACCEL)
    return prefix if prefix and request.headers.get("X-Accel-Prefix") == prefix else ""


def _pick_span(request: HttpRequest, size_bytes: int, etag: str) -> Span | None:
    header = request.headers.get("Range", "")
    if not header or request.headers.get("If-Range", etag) != etag:
        return None
    return read_range(header, size_bytes)


def _describe(request: HttpRequest, file: CommitFile, etag: str) -> dict[str, str]:
    name = file.path.rpartition("/")[2]
    ending = f".{name.rpartition('.')[2].lower()}"
    guessed = mimetypes.guess_type(name)[0] or ""
    kind = "text/plain; charset=utf-8" if ending in _TEXT else "application/octet-stream"
    if guessed.startswith("image/") and guessed != "image/svg+xml":
        kind = guessed
    return _describe_large(request, file) | {
        "Content-Type": kind,
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}",
        "Content-Security-Policy": _SANDBOX,
        "ETag": etag,
        "X-Repo-Commit": file.commit.sha,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }


def _describe_large(request: HttpRequest, file: CommitFile) -> dict[str, str]:
    """Say of a large file what clients of LFS and of Xet look for."""
    blob, repo = file.blob, file.commit.repo
    if not blob.xet_id:
        return {}
    where = f"/api/{Kind(repo.kind).value}s/{repo.repo_id}/xet-read-token/{file.commit.sha}"
    return {
        "X-Linked-Size": str(blob.size_bytes),
        "X-Linked-ETag": f'"{blob.sha256}"',
        "X-Xet-Hash": str(blob.xet_id),
        "X-Xet-Refresh-Route": request.build_absolute_uri(where),
    }
