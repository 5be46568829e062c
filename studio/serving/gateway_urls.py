"""Addresses of the OpenAI-compatible gateway, below /v1/."""

from django.urls import path

from studio.serving import gateway_apis

urlpatterns = [
    path("models", gateway_apis.list_all),
    path("models/<path:model>", gateway_apis.get_one),
    path("chat/completions", gateway_apis.chat_completions),
    path("completions", gateway_apis.completions),
    path("embeddings", gateway_apis.embeddings),
]
