"""Conversations at the dashboard's API, and the stream of a turn."""

from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.core.answers import handle
from studio.core.inputs import JsonParser, read_input
from studio.core.pagination import Pages
from studio.hub.callers import get_caller
from studio.playground import serializers as shapes
from studio.playground.selectors import (
    get_conversation,
    list_conversations,
    list_playground_models,
)
from studio.playground.services import (
    Ask,
    begin_turn,
    create_conversation,
    delete_conversation,
    update_conversation,
)
from studio.playground.shapes import show_conversation, show_head
from studio.playground.streaming import stream_turn
from studio.serving.doors import sign_in

_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class PlaygroundModelListApi(APIView):
    @extend_schema(responses=shapes.PlaygroundModelOutput(many=True))
    def get(self, request: Request) -> Response:
        models = list_playground_models(get_caller(request))
        return Response(shapes.PlaygroundModelOutput(models, many=True).data)


class ConversationListApi(APIView):
    @extend_schema(
        operation_id="playground_conversations_list",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses=shapes.ConversationPageOutput,
    )
    def get(self, request: Request) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(list_conversations(get_caller(request)), request, view=self)
        return pages.get_paginated_response([show_head(each) for each in page or []])

    @extend_schema(request=shapes.ConversationInput, responses={201: shapes.ConversationOutput})
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.ConversationInput, request.data)
        conversation = create_conversation(by=get_caller(request), **wish)
        return Response(show_conversation(conversation), status=201)


class ConversationApi(APIView):
    @extend_schema(responses=shapes.ConversationOutput)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        return Response(show_conversation(get_conversation(get_caller(request), conversation_id)))

    @extend_schema(request=shapes.ConversationInput, responses=shapes.ConversationOutput)
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        wish = read_input(shapes.ConversationInput, request.data, partial=True)
        conversation = get_conversation(get_caller(request), conversation_id)
        update_conversation(by=get_caller(request), conversation=conversation, **wish)
        return Response(show_conversation(conversation))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, conversation_id: UUID) -> Response:
        conversation = get_conversation(get_caller(request), conversation_id)
        delete_conversation(by=get_caller(request), conversation=conversation)
        return Response(status=204)


class TurnSchema(APIView):
    """What OpenAPI says of `ask`, which is async and so no view of the framework."""

    @extend_schema(
        operation_id="playground_turns_create",
        request=shapes.TurnInput,
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
        description=(
            "Events: `status` {side, state: starting|waiting|generating}, `delta` {side, text}, "
            "`done` {side, message: ChatMessage}, `error` {side, code, message}, and `end` {} "
            "last. To close the connection stops every side; what has come is kept."
        ),
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        raise AssertionError("`ask` answers this address")


@csrf_exempt  # `sign_in` checks it, for sessions
async def ask(request: HttpRequest, conversation_id: UUID) -> HttpResponseBase:
    """Ask one to four models and stream their answers."""
    try:
        if request.method != "POST":
            raise MethodNotAllowed(str(request.method))
        return await _ask(request, conversation_id)
    except Exception as error:
        answer = handle(error, {})
        if answer is None:
            raise
        return JsonResponse(answer.data, status=answer.status_code)


ask.cls, ask.initkwargs = TurnSchema, {}  # type: ignore[attr-defined]  # read by OpenAPI


async def _ask(request: HttpRequest, conversation_id: UUID) -> HttpResponseBase:
    user = await sign_in(request, scope="chat")
    wish: dict[str, Any] = read_input(shapes.TurnInput, JsonParser().parse(request))
    asked = Ask(**wish)
    turn = await database_sync_to_async(begin_turn)(
        by=user, conversation_id=conversation_id, ask=asked
    )
    return StreamingHttpResponse(
        stream_turn(user, turn, asked), content_type="text/event-stream", headers=_STREAM_HEADERS
    )
