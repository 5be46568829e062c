"""The doors by which large files come and go: tokens for Xet, uploads by LFS."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.errors import BadInput, StudioError
from studio.core.inputs import JsonParser
from studio.hub.access import check_may_read, check_may_write
from studio.hub.callers import get_caller
from studio.hub.huggingface.doors import HubApi
from studio.hub.lfs import (
    PART_BYTES,
    Upload,
    complete_upload,
    find_committable,
    plan_upload,
    read_upload,
    receive_part,
    sign_upload,
)
from studio.hub.xet.tokens import get_hub_id, make_grant, sign_grant

_MOST_OBJECTS = 1000
_XET = "xet"
_BEAT_S = 3.0  # clients wait ten seconds for the next bytes of an answer


class LfsJsonParser(JsonParser):
    """JSON as LFS clients name it."""

    media_type = "application/vnd.git-lfs+json"


class LfsJsonRenderer(JSONRenderer):
    """JSON as LFS clients ask for it."""

    media_type = "application/vnd.git-lfs+json"


class XetTokenApi(HubApi):
    def get(
        self, request: Request, kind: str, namespace: str, name: str, action: str, revision: str
    ) -> Response:
        repo = self.find_repo(kind, namespace, name)
        if action == "write":
            self.refuse_readers()
            self.check_run_may_write(kind, repo.repo_id)
            check_may_write(get_caller(request), repo)
        else:
            check_may_read(self.reader(), repo)
        grant = make_grant(self.reader(), repo, may_write=action == "write")
        token = sign_grant(grant)
        address = request.build_absolute_uri(f"/api/xet/{get_hub_id()}")
        body = {"accessToken": token, "exp": grant.expires_at, "casUrl": address}
        headers = {
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(grant.expires_at),
            "X-Xet-Cas-Url": address,
            "Cache-Control": "no-store",
        }
        return Response(body, headers=headers)


class LfsBatchApi(HubApi):
    parser_classes = [LfsJsonParser, JsonParser]
    renderer_classes = [LfsJsonRenderer, JSONRenderer]

    def post(self, request: Request, kind: str, namespace: str, name: str) -> Response:
        self.check_run_may_write(kind, f"{namespace}/{name}")
        check_may_write(get_caller(request), self.find_repo(kind, namespace, name))
        objects = _read_batch(request)
        transfer = _pick_transfer(request.data, objects)
        # Who goes on by Xet asks for a token next, not for addresses.
        shown = objects if transfer == _XET else [self._show(request, each) for each in objects]
        body = {
            "transfer": transfer,
            "objects": shown,
            "hash_algo": "sha256",
        }
        return Response(body)

    def _show(self, request: Request, wanted: dict[str, Any]) -> dict[str, Any]:
        oid, size_bytes = wanted["oid"], wanted["size"]
        shown = {"oid": oid, "size": size_bytes, "authenticated": True}
        try:
            upload = plan_upload(by=get_caller(request), oid=oid, size_bytes=size_bytes)
        except StudioError as error:
            status = 507 if error.status == 507 else 422
            return {"oid": oid, "size": size_bytes} | {
                "error": {"code": status, "message": error.message}
            }
        if upload is not None:
            verify = {"href": request.build_absolute_uri("/api/lfs/verify"), "header": {}}
            shown["actions"] = {"upload": _show_upload(request, upload), "verify": verify}
        return shown


class LfsVerifyApi(HubApi):
    parser_classes = [LfsJsonParser, JsonParser]
    renderer_classes = [LfsJsonRenderer, JSONRenderer]

    def post(self, request: Request) -> Response:
        asked = request.data if isinstance(request.data, dict) else {}
        oid = str(asked.get("oid", ""))
        blob = find_committable(get_caller(request), oid)
        if blob is None or blob.size_bytes != asked.get("size"):
            message = f"oid: {oid[:80]!r} has not arrived; send it again."
            raise BadInput(message, field="oid", code="not_arrived")
        return Response({})


class LfsUploadApi(APIView):
    schema = None
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    parser_classes: list[Any] = []
    renderer_classes = [LfsJsonRenderer, JSONRenderer]

    def put(self, request: Request, word: str) -> Response:
        upload = read_upload(word)
        tag = receive_part(upload, request._request)
        if not upload.part:
            complete_upload(upload)
        return Response({}, headers={"ETag": f'"{tag}"'})

    def post(self, request: Request, word: str) -> HttpResponseBase:
        upload = read_upload(word)
        return StreamingHttpResponse(_complete(upload), content_type="application/json")


async def _complete(upload: Upload) -> AsyncIterator[bytes]:
    """Make the file, and send a space now and then: who waits in silence goes away.

    How it went is for `verify` to tell: the status is on its way by then.
    """
    work = asyncio.ensure_future(sync_to_async(complete_upload, thread_sensitive=False)(upload))
    while not work.done():
        yield b" "
        await asyncio.wait([work], timeout=_BEAT_S)
    error = work.exception()
    if error is not None and not isinstance(error, StudioError):
        raise error
    yield b"{}" if error is None else b'{"error": "not kept: verify says why"}'


def _show_upload(request: Request, upload: Upload) -> dict[str, Any]:
    def address(part: int) -> str:
        word = sign_upload(replace(upload, part=part))
        return request.build_absolute_uri(f"/api/lfs/uploads/{word}")

    if upload.num_parts == 1:
        return {"href": address(0), "header": {}}
    parts = {f"{number:05d}": address(number) for number in range(1, upload.num_parts + 1)}
    return {"href": address(0), "header": {"chunk_size": str(PART_BYTES)} | parts}


def _pick_transfer(body: Any, objects: list[dict[str, Any]]) -> str:
    offered = body.get("transfers") or ["basic"]
    if _XET in offered:
        return _XET
    is_large = any(wanted["size"] > PART_BYTES for wanted in objects)
    return "multipart" if is_large and "multipart" in offered else "basic"


def _read_batch(request: Request) -> list[dict[str, Any]]:
    body = request.data
    if not isinstance(body, dict) or body.get("operation") != "upload":
        raise BadInput("operation: this hub takes uploads by LFS; fetch files from /resolve/.")
    objects = body.get("objects")
    if not isinstance(objects, list) or len(objects) > _MOST_OBJECTS:
        message = f"objects: send a list of {_MOST_OBJECTS} objects at most."
        raise BadInput(message, field="objects", code="bad_batch")
    for wanted in objects:
        is_fit = isinstance(wanted, dict) and isinstance(wanted.get("oid"), str)
        if not is_fit or type(wanted.get("size")) is not int:
            message = "objects: each has an oid, which is a text, and a size, which is a number."
            raise BadInput(message, field="objects", code="bad_batch")
    return objects
