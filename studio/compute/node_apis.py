"""Nodes at the API: who has them, what administrators do with them, and the door of a new one."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts.viewers import viewer_of
from studio.compute import joining, upkeep
from studio.compute import serializers as shapes
from studio.compute.models import JoinToken
from studio.compute.selectors import describe_node, describe_nodes
from studio.core.inputs import read_input
from studio.core.permissions import IsAdministrator, IsOperator


class NodeListApi(APIView):
    permission_classes = [IsOperator]

    @extend_schema(responses=shapes.NodeOutput(many=True))
    def get(self, request: Request) -> Response:
        return Response(shapes.NodeOutput(describe_nodes(), many=True).data)


class NodeApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(
        parameters=[
            OpenApiParameter("force", bool, description="Also where it holds something still.")
        ],
        responses={204: None},
    )
    def delete(self, request: Request, name: str) -> Response:
        is_forced = request.query_params.get("force", "").lower() in {"1", "true"}
        upkeep.remove_node(by=viewer_of(request), name=name, is_forced=is_forced)
        return Response(status=204)


class NodeCordonApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(request=None, responses=shapes.NodeOutput)
    def post(self, request: Request, name: str) -> Response:
        return _answer(upkeep.cordon_node(by=viewer_of(request), name=name))


class NodeUncordonApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(request=None, responses=shapes.NodeOutput)
    def post(self, request: Request, name: str) -> Response:
        return _answer(upkeep.uncordon_node(by=viewer_of(request), name=name))


class NodeDrainApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(request=shapes.NodeDrainInput, responses=shapes.NodeOutput)
    def post(self, request: Request, name: str) -> Response:
        given = read_input(shapes.NodeDrainInput, request.data)
        return _answer(upkeep.drain_node(by=viewer_of(request), name=name, **given))


class JoinTokenListApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(responses=shapes.JoinTokenOutput(many=True))
    def get(self, request: Request) -> Response:
        shown = [_show_token(token) for token in joining.list_join_tokens()]
        return Response(shapes.JoinTokenOutput(shown, many=True).data)

    @extend_schema(request=shapes.JoinTokenInput, responses={201: shapes.NewJoinTokenOutput})
    def post(self, request: Request) -> Response:
        given = read_input(shapes.JoinTokenInput, request.data)
        raw, token = joining.make_join_token(by=viewer_of(request), **given)
        shown = _show_token(token) | {"token": raw, "command": joining.say_command(raw, token)}
        return Response(shapes.NewJoinTokenOutput(shown).data, status=201)


class JoinTokenApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: int) -> Response:
        joining.revoke_join_token(by=viewer_of(request), token_id=token_id)
        return Response(status=204)


class NodeJoinApi(APIView):
    """A machine changes a join token for a node's own: the token is all that it needs to have."""

    authentication_classes: list[type[BaseAuthentication]] = []
    permission_classes = [AllowAny]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Answer the node's name, its token and the queue's address."""
        given = read_input(shapes.NodeJoinInput, request.data)
        welcome = joining.join_node(raw=given.pop("token"), **given)
        return Response(shapes.NodeWelcomeOutput(welcome).data)


def _answer(node: Any) -> Response:
    return Response(shapes.NodeOutput(describe_node(node.pk)).data)


def _show_token(token: JoinToken) -> dict[str, Any]:
    return {
        "id": token.pk,
        "name": token.name,
        "made_by": token.made_by.username if token.made_by else None,
        "made_at": token.made_at,
        "expires_at": token.expires_at,
    }
