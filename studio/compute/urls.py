"""Addresses of flavors and nodes."""

from django.urls import path

from studio.compute.apis import FlavorListApi, HeartbeatApi, NodeListApi

urlpatterns = [
    path("flavors/", FlavorListApi.as_view()),
    path("nodes/", NodeListApi.as_view()),
    path("internal/nodes/heartbeat/", HeartbeatApi.as_view()),
]
