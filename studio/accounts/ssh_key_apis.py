"""People's SSH keys at the API. A machine's token may look and not change: its owner may."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts import serializers as shapes
from studio.accounts.models import PersonalToken
from studio.accounts.ssh_keys import add_ssh_key, delete_ssh_key, generate_ssh_key, list_ssh_keys
from studio.accounts.viewers import viewer_of
from studio.core.errors import NotFound
from studio.core.inputs import read_input
from studio.core.permissions import SignedInWithScope


class BySessionOrPersonalToken(SignedInWithScope):
    """What a stolen machine's token could make lasting is not its to change."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Let other tokens read only."""
        auth: Any = request.auth
        may_change = auth is None or isinstance(auth, PersonalToken)
        return super().has_permission(request, view) and (
            may_change or request.method in SAFE_METHODS
        )


class SshKeyListApi(APIView):
    permission_classes = [BySessionOrPersonalToken]

    @extend_schema(operation_id="ssh_keys_list", responses=shapes.SshKeyOutput(many=True))
    def get(self, request: Request) -> Response:
        keys = list_ssh_keys(viewer_of(request))
        return Response(shapes.SshKeyOutput(keys, many=True).data)

    @extend_schema(
        operation_id="ssh_keys_create",
        request=shapes.SshKeyInput,
        responses={201: shapes.SshKeyOutput},
    )
    def post(self, request: Request) -> Response:
        given = read_input(shapes.SshKeyInput, request.data)
        key = add_ssh_key(user=viewer_of(request), **given)
        return Response(shapes.SshKeyOutput(key).data, status=201)


class SshKeyGenerateApi(APIView):
    permission_classes = [BySessionOrPersonalToken]

    @extend_schema(
        operation_id="ssh_keys_generate",
        request=shapes.SshKeyGenerateInput,
        responses={201: shapes.SshKeyMadeOutput},
    )
    def post(self, request: Request) -> Response:
        given = read_input(shapes.SshKeyGenerateInput, request.data)
        made = generate_ssh_key(user=viewer_of(request), **given)
        shown = dict(shapes.SshKeyOutput(made.key).data)
        return Response({**shown, "private_key": made.private_key}, status=201)


class SshKeyApi(APIView):
    permission_classes = [BySessionOrPersonalToken]

    @extend_schema(operation_id="ssh_keys_destroy", request=None, responses={204: None})
    def delete(self, request: Request, key_id: int) -> Response:
        viewer = viewer_of(request)
        key = list_ssh_keys(viewer).filter(pk=key_id).first()
        if key is None:
            raise NotFound
        delete_ssh_key(by=viewer, key=key)
        return Response(status=204)
