"""Addresses of the playground, below /api/playground/."""

from django.urls import path

from studio.playground import apis

_ONE = "conversations/<uuid:conversation_id>/"

urlpatterns = [
    path("models/", apis.PlaygroundModelListApi.as_view()),
    path("conversations/", apis.ConversationListApi.as_view()),
    path(_ONE, apis.ConversationApi.as_view()),
    path(f"{_ONE}turns/", apis.ask),
]
