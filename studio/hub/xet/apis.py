"""The doors of the Xet protocol: parse, call one service, shape the answer.

Source: "CAS API" of the Xet specification 1.1.0. Clients read the status and pass over what a
refusal says, so a refusal has the studio's usual body.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.models import User
from studio.core.errors import BadInput, Forbidden, NotFound, StudioError
from studio.core.inputs import JsonParser, read_body
from studio.hub.access import Reader, check_may_read, may_write
from studio.hub.downloads import RangeNotThere, Span, get_accel_prefix, read_range, stream_bytes
from studio.hub.models import CommitFile, Repo, XetFile
from studio.hub.storage import get_store
from studio.hub.xet.hashes import from_text
from studio.hub.xet.plans import BehindEnd, Plan, list_fetches, plan_file
from studio.hub.xet.reading import list_runs, measure_xorb
from studio.hub.xet.services import register_shard, store_xorb, tell_known_xorbs
from studio.hub.xet.shards import MAX_SHARD_BYTES
from studio.hub.xet.tokens import BadToken, Grant, find_bearer, may_fetch, read_grant, sign_ranges
from studio.hub.xet.xorbs import MAX_XORB_BYTES

_BEAT_S = 10.0  # clients give up on a silent answer after five minutes, proxies after one
_RANGES_IN_URL = 400  # some 8 KB
_MOST_FILES = 1000
_WANTED = re.compile(r"^bytes=(\d+-\d+(?:,\d+-\d+)*)$")


class XetTokenAuthentication(BaseAuthentication):
    """Takes the tokens that the hub's own doors give out for a repo."""

    def authenticate(self, request: Request) -> tuple[User, Grant]:
        """Return the bearer and what the token grants.

        Raises:
            AuthenticationFailed: there is no token, or it is not valid any more.
        """
        words = get_authorization_header(request).decode("latin-1").split()
        if len(words) != 2 or words[0].lower() != "bearer":
            raise AuthenticationFailed("Send the Xet token as Authorization: Bearer.")
        try:
            grant = read_grant(words[1])
        except BadToken as error:
            raise AuthenticationFailed(str(error)) from error
        found = find_bearer(grant)
        if found is None:
            raise AuthenticationFailed("The Xet token's repo or person is gone.")
        request.reader, request.repo = found  # type: ignore[attr-defined]
        return found[0].user, grant

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a refusal is 401."""
        return "Bearer"


class HasGrant(BasePermission):
    """Reading asks that the repo is still visible, writing that it may still be changed."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Say whether the bearer may still pass."""
        grant, reader, repo = request.auth, _reader(request), _repo(request)
        assert isinstance(grant, Grant)
        check_may_read(reader, repo)
        if view.writes and not (grant.may_write and may_write(reader.user, repo)):
            raise Forbidden("The Xet token lets its bearer read only: ask for a write token.")
        return True


class XetApi(APIView):
    """What the doors share."""

    schema = None
    writes = False
    authentication_classes = [XetTokenAuthentication]
    permission_classes: list[type[BasePermission]] = [HasGrant]


class XorbUploadApi(XetApi):
    writes = True
    parser_classes: list[Any] = []

    def post(self, request: Request, prefix: str, xorb: str) -> Response:
        data = read_body(request._request, MAX_XORB_BYTES)
        return Response({"was_inserted": store_xorb(name=_hash(xorb), data=data)})


class ShardUploadApi(XetApi):
    writes = True
    parser_classes: list[Any] = []

    def post(self, request: Request, version: str) -> HttpResponseBase:
        data = read_body(request._request, MAX_SHARD_BYTES)
        assert isinstance(request.user, User)
        if version == "1":
            return Response({"result": 1 if register_shard(by=request.user, data=data) else 0})
        events = _tell_progress(request.user, data)
        return StreamingHttpResponse(events, content_type="application/x-ndjson")


class ReconstructionApi(XetApi):
    def get(self, request: Request, version: str, file: str) -> HttpResponseBase:
        found = _find_file(request, _hash(file))
        try:
            span = read_range(request.headers.get("Range", ""), found.size_bytes)
            wanted = (span.start, span.start + span.length - 1) if span else None
            plan = plan_file(found, wanted)
        except (RangeNotThere, BehindEnd):
            return Response({"message": "The file ends before this range."}, status=416)
        body = {
            "offset_into_first_range": plan.skipped_bytes,
            "terms": _show_terms(plan),
        }
        shown = _show_fetches(request, plan) if version == "1" else _show_xorbs(request, plan)
        return Response(body | {"fetch_info" if version == "1" else "xorbs": shown})


class BatchReconstructionApi(XetApi):
    parser_classes = [JsonParser]

    def get(self, request: Request) -> Response:
        return self._answer(request, request.query_params.getlist("file_id"))

    def post(self, request: Request) -> Response:
        keys = request.data
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            raise BadInput('Send a list of {"prefix": ..., "hash": ...}.', code="bad_json")
        return self._answer(request, [str(key.get("hash", "")) for key in keys])

    def _answer(self, request: Request, names: list[str]) -> Response:
        if len(names) > _MOST_FILES:
            raise BadInput(f"hash: ask for {_MOST_FILES} files at most at once.", field="hash")
        files = [_find_file(request, _hash(name)) for name in dict.fromkeys(names)]
        runs = {file.hash: list_runs(file) for file in files}
        plan = Plan(0, [], list_fetches([run for each in runs.values() for run in each]))
        shown = {name: _show_terms(Plan(0, each, {})) for name, each in runs.items()}
        return Response({"files": shown, "fetch_info": _show_fetches(request, plan)})


class KnownChunkApi(XetApi):
    def get(self, request: Request, prefix: str, chunk: str) -> HttpResponse:
        shard = tell_known_xorbs(_hash(chunk))
        if shard is None:
            raise NotFound("The hub has announced no such chunk.")
        return HttpResponse(shard, content_type="application/octet-stream")


def send_xorb(request: HttpRequest, xorb: str) -> HttpResponseBase:
    """Send a signed range of a xorb. The address is the right to it: no token is asked for."""
    ask = request.GET
    found = _WANTED.match(request.headers.get("Range", ""))
    if found is None or not may_fetch(
        xorb,
        listed=ask.get("r", ""),
        expires_at=ask.get("e", ""),
        signature=ask.get("s", ""),
        wanted=found[1],
    ):
        return HttpResponse("The address does not open this range.", status=403)
    first, last = (int(number) for number in found[1].split(",")[0].split("-"))
    if "," in found[1]:
        return HttpResponse("Ask for one range at a time.", status=416)
    span = Span(first, last - first + 1)
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if (prefix := get_accel_prefix(request)) and get_store("xorbs").find_path(xorb):
        headers["X-Accel-Redirect"] = f"{prefix}/xorbs/{xorb[:2]}/{xorb[2:4]}/{xorb}"
        return HttpResponse(headers=headers)
    headers["Content-Length"] = str(span.length)
    headers["Content-Range"] = f"bytes {first}-{last}/{measure_xorb(xorb)}"
    stream = stream_bytes(partial(get_store("xorbs").open, xorb), span)
    return StreamingHttpResponse(stream, status=206, headers=headers)


async def _tell_progress(by: User, data: bytes) -> AsyncIterator[bytes]:
    """Register a shard, and tell how far it is: JSON lines, the last of which is the outcome."""
    done = [0, 1]

    def note(verified: int, total: int) -> None:
        done[:] = verified, total

    work = asyncio.ensure_future(
        sync_to_async(register_shard, thread_sensitive=False)(by=by, data=data, on_progress=note)
    )
    while not work.done():
        yield _line(type="validating", verified=done[0], total=done[1])
        await asyncio.wait([work], timeout=_BEAT_S)
    try:
        work.result()
    except StudioError as error:
        again = error.status >= 500
        yield _line(type="error", message=error.message, retryable=again)
    else:
        yield _line(type="committing", stage="syncing")
        yield _line(type="result")


def _line(**frame: Any) -> bytes:
    return json.dumps(frame).encode() + b"\n"


def _hash(text: str) -> str:
    try:
        from_text(text)
    except ValueError as error:
        raise BadInput(f"hash: {error}.", field="hash", code="bad_hash") from error
    return text


def _find_file(request: Request, name: str) -> XetFile:
    """Return a file that some commit of the token's repo holds."""
    held = CommitFile.objects.filter(blob__xet_id=name, commit__repo=_repo(request))
    file = XetFile.objects.filter(hash=name).first() if held.exists() else None
    if file is None:
        raise NotFound("The repo has no such file.")
    return file


def _show_terms(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "hash": run.xorb,
            "unpacked_length": run.unpacked_bytes,
            "range": {"start": run.start, "end": run.end},
        }
        for run in plan.runs
    ]


def _show_fetches(request: Request, plan: Plan) -> dict[str, Any]:
    return {
        xorb: [
            {
                "range": {"start": fetch.start, "end": fetch.end},
                "url": _address(request, xorb, [(fetch.first, fetch.last)]),
                "url_range": {"start": fetch.first, "end": fetch.last},
            }
            for fetch in fetches
        ]
        for xorb, fetches in plan.fetches.items()
    }


def _show_xorbs(request: Request, plan: Plan) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for xorb, fetches in plan.fetches.items():
        parts = [fetches[at : at + _RANGES_IN_URL] for at in range(0, len(fetches), _RANGES_IN_URL)]
        shown[xorb] = [
            {
                "url": _address(request, xorb, [(fetch.first, fetch.last) for fetch in part]),
                "ranges": [
                    {
                        "chunks": {"start": fetch.start, "end": fetch.end},
                        "bytes": {"start": fetch.first, "end": fetch.last},
                    }
                    for fetch in part
                ],
            }
            for part in parts
        ]
    return shown


def _address(request: Request, xorb: str, ranges: list[tuple[int, int]]) -> str:
    return request.build_absolute_uri(f"/api/xet/xorbs/{xorb}?{sign_ranges(xorb, ranges)}")


def _reader(request: Request) -> Reader:
    reader = request.reader  # type: ignore[attr-defined]
    assert isinstance(reader, Reader)
    return reader


def _repo(request: Request) -> Repo:
    repo = request.repo  # type: ignore[attr-defined]
    assert isinstance(repo, Repo)
    return repo
