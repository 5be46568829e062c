"""Answers that carry a file of the drive, or a zip that is made while it is sent."""

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from studio.accounts.models import User
from studio.drive.archives import stream_zip
from studio.drive.folders import open_file
from studio.drive.names import show
from studio.drive.selectors import etag_of
from studio.drive.spaces import open_space
from studio.hub.downloads import RangeNotThere, Span, read_range, stream_bytes

# A person's files are data, a shared one is somebody else's: nothing runs on the studio's origin.
_SANDBOX = "sandbox; default-src 'none'"
_SHOWN = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif"}


def answer_file(
    request: HttpRequest, owner: User, parts: Sequence[str], *, is_shown: bool = False
) -> HttpResponseBase:
    """Answer a GET or HEAD of a file; `is_shown` lets an image open in the page."""
    with open_space(owner) as space:
        file = open_file(space.home, parts)
    info = os.fstat(file.fileno())
    headers = _describe(show(parts[-1]), is_shown=is_shown) | {"ETag": etag_of(info)}
    size = info.st_size
    span: Span | None = None
    header = request.headers.get("Range", "")
    status = 200
    if etag_of(info) in request.headers.get("If-None-Match", "").split(", "):
        status = 304
    elif header and request.headers.get("If-Range", etag_of(info)) == etag_of(info):
        try:
            span = read_range(header, size)
        except RangeNotThere:
            status = 416
            headers["Content-Range"] = f"bytes */{size}"
    if status != 200:
        file.close()
        return HttpResponse(status=status, headers=headers)
    if span:
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{size}"
    whole = span or Span(0, size)
    headers["Content-Length"] = str(whole.length)
    if request.method == "HEAD":
        file.close()
        return HttpResponse(status=status, headers=headers)
    return StreamingHttpResponse(stream_bytes(lambda: file, whole), status=status, headers=headers)


def answer_zip(owner: User, paths: Sequence[Sequence[str]], name: str) -> HttpResponseBase:
    """Answer with a zip of things, made while it is sent: it needs no room on the drive.

    Raises:
        OSError: one of them is not there.
    """
    headers = _describe(f"{show(name)}.zip") | {"Content-Type": "application/zip"}
    return StreamingHttpResponse(_in_threads(stream_zip(owner, paths)), headers=headers)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        piece = await asyncio.to_thread(next, pieces, None)
        if piece is None:
            return
        yield piece


def _describe(name: str, *, is_shown: bool = False) -> dict[str, str]:
    guessed = mimetypes.guess_type(name)[0] or ""
    kind = guessed if is_shown and guessed in _SHOWN else "application/octet-stream"
    how = "inline" if kind in _SHOWN else "attachment"
    return {
        "Content-Type": kind,
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": _SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }
