"""tus 1.0.0 for unchanged clients: creation (with upload), termination, checksum, expiration.

Source: https://tus.io/protocols/resumable-upload. The bodies stream: see `studio.core.bodies`.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.utils.http import http_date
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from studio.accounts.viewers import viewer_of
from studio.drive.apis import DriveApi
from studio.drive.models import Upload
from studio.drive.uploads import (
    CHECKSUMS,
    BadUpload,
    create_upload,
    end_upload,
    get_upload,
    read_checksum,
    receive,
)

_VERSION = "1.0.0"
_EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
_BODY_TYPE = "application/offset+octet-stream"
_MOST_BYTES = 2**62


class TusVersion(BadUpload):
    """Another version of the protocol."""

    code = "tus_version"
    status = 412


class BadBodyType(BadUpload):
    """A body that is not a piece of a file."""

    code = "bad_media_type"
    status = 415


@extend_schema(exclude=True)
class TusApi(DriveApi):
    """What every answer of tus carries."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse strangers, then other versions.

        Raises:
            TusVersion: the client speaks another one.
        """
        super().initial(request, *args, **kwargs)
        if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != _VERSION:
            raise TusVersion("Tus-Resumable: this studio speaks 1.0.0.", field="Tus-Resumable")

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Name the version, and let nobody keep an answer."""
        response["Tus-Resumable"] = _VERSION
        response["Cache-Control"] = "no-store"
        if response.status_code == 412:
            response["Tus-Version"] = _VERSION
        return super().finalize_response(request, response, *args, **kwargs)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Say what is spoken here."""
        headers = {
            "Tus-Version": _VERSION,
            "Tus-Extension": _EXTENSIONS,
            "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
        }
        return HttpResponse(status=204, headers=headers)


class UploadListApi(TusApi):
    def post(self, request: Request) -> HttpResponse:
        if "Upload-Defer-Length" in request.headers:
            raise BadUpload(
                "Upload-Length: say the size at once; it cannot be deferred.", field="Upload-Length"
            )
        size = _read_whole(request, "Upload-Length")
        checksum = read_checksum(request.headers.get("Upload-Checksum", ""))
        viewer = viewer_of(request)
        metadata = request.headers.get("Upload-Metadata", "")
        upload = create_upload(by=viewer, size_bytes=size, metadata=metadata)
        headers = {"Location": f"{settings.PUBLIC_URL}/api/drive/uploads/{upload.pk}"}
        if f"{request.scheme}://{request.get_host()}" != settings.PUBLIC_URL:
            # Reached by another name than the public one: stay with it.
            headers["Location"] = f"/api/drive/uploads/{upload.pk}"
        if request.content_type == _BODY_TYPE and size:
            offset = receive(
                by=viewer, upload=upload, offset=0, body=request._request, checksum=checksum
            )
            headers["Upload-Offset"] = str(offset)
        return HttpResponse(status=201, headers=headers | _expiry(upload))


class UploadApi(TusApi):
    def head(self, request: Request, upload_id: UUID) -> HttpResponse:
        upload, offset = get_upload(viewer_of(request), upload_id)
        headers = {"Upload-Offset": str(offset), "Upload-Length": str(upload.size_bytes)}
        if upload.metadata:
            headers["Upload-Metadata"] = upload.metadata
        return HttpResponse(status=200, headers=headers | _expiry(upload))

    def patch(self, request: Request, upload_id: UUID) -> HttpResponse:
        if request.content_type != _BODY_TYPE:
            raise BadBodyType(f"Content-Type: send {_BODY_TYPE}.", field="Content-Type")
        offset = _read_whole(request, "Upload-Offset")
        checksum = read_checksum(request.headers.get("Upload-Checksum", ""))
        viewer = viewer_of(request)
        upload, _ = get_upload(viewer, upload_id)
        offset = receive(
            by=viewer, upload=upload, offset=offset, body=request._request, checksum=checksum
        )
        return HttpResponse(status=204, headers={"Upload-Offset": str(offset)} | _expiry(upload))

    def delete(self, request: Request, upload_id: UUID) -> Response:
        viewer = viewer_of(request)
        upload, _ = get_upload(viewer, upload_id)
        end_upload(by=viewer, upload=upload)
        return Response(status=204)


def _read_whole(request: Request, name: str) -> int:
    raw = request.headers.get(name, "")
    if not (raw.isascii() and raw.isdigit() and len(raw) < 20 and int(raw) <= _MOST_BYTES):
        raise BadUpload(f"{name}: write a whole number of bytes.", field=name)
    return int(raw)


def _expiry(upload: Upload) -> dict[str, str]:
    if upload.placed_at:
        return {}
    return {"Upload-Expires": http_date(upload.expires_at.timestamp())}
