"""Links to files: made and ended by their owner, opened by whoever has one."""

import stat
from typing import Any

from django.conf import settings
from django.db.models import F
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from studio.accounts.secret_hash import hash_secret
from studio.accounts.viewers import viewer_of
from studio.core.errors import NotFound
from studio.core.inputs import read_input
from studio.drive import selectors, services
from studio.drive import serializers as shapes
from studio.drive.apis import DriveApi
from studio.drive.downloads import answer_file, answer_zip
from studio.drive.folders import stat_at
from studio.drive.models import Share
from studio.drive.names import parse_path
from studio.drive.spaces import open_space


class ShareListApi(DriveApi):
    @extend_schema(responses=shapes.DriveShareOutput(many=True))
    def get(self, request: Request) -> Response:
        shares = selectors.list_shares(viewer_of(request))[:500]
        return Response(shapes.DriveShareOutput(shares, many=True).data)

    @extend_schema(request=shapes.DriveShareInput, responses={201: shapes.DriveShareCreatedOutput})
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.DriveShareInput, request.data)
        share, token = services.share(
            by=viewer_of(request), parts=parse_path(wish["path"]), days=wish["days"]
        )
        said = shapes.DriveShareOutput(share).data
        return Response({**said, "url": f"{settings.PUBLIC_URL}/shared/{token}"}, status=201)


class ShareApi(DriveApi):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, share_id: Any) -> Response:
        services.revoke_share(by=viewer_of(request), share_id=share_id)
        return Response(status=204)


class SharedApi(DriveApi):
    """What a link opens. The link is the key: nobody signs in for it."""

    authentication_classes: list[type[BaseAuthentication]] = []
    permission_classes = [AllowAny]

    @extend_schema(auth=[], responses=shapes.DriveSharedOutput)
    def get(self, request: Request, token: str) -> HttpResponseBase:
        share, parts, is_folder, size = _open(token)
        said = {
            "name": share.path.rpartition("/")[2],
            "is_folder": is_folder,
            "size_bytes": None if is_folder else size,
            "owner": share.owner.display_name or share.owner.username,
            "expires_at": share.expires_at,
        }
        return Response(shapes.DriveSharedOutput(said).data)


class SharedFileApi(SharedApi):
    """The file behind a link; of a folder, a zip of it."""

    @extend_schema(auth=[], responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, token: str) -> HttpResponseBase:
        share, parts, is_folder, _ = _open(token)
        if request.method == "GET":
            Share.objects.filter(pk=share.pk).update(num_fetched=F("num_fetched") + 1)
        if is_folder:
            return answer_zip(share.owner, [parts], parts[-1])
        return answer_file(request._request, share.owner, parts)


def _open(token: str) -> tuple[Share, tuple[str, ...], bool, int]:
    share = (
        Share.objects.select_related("owner")
        .filter(token_hash=hash_secret(token), expires_at__gt=timezone.now(), owner__is_active=True)
        .first()
    )
    if share is None:
        raise NotFound
    parts = parse_path(share.path)
    with open_space(share.owner) as space:
        info = stat_at(space.home, parts)
    if not (stat.S_ISDIR(info.st_mode) or stat.S_ISREG(info.st_mode)):
        raise NotFound
    return share, parts, stat.S_ISDIR(info.st_mode), info.st_size
