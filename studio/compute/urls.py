"""Addresses of flavors and nodes."""

from django.urls import path

from studio.compute import node_apis
from studio.compute.apis import FlavorListApi, HeartbeatApi

urlpatterns = [
    path("flavors/", FlavorListApi.as_view()),
    path("nodes/", node_apis.NodeListApi.as_view()),
    path("nodes/<slug:name>/", node_apis.NodeApi.as_view()),
    path("nodes/<slug:name>/cordon/", node_apis.NodeCordonApi.as_view()),
    path("nodes/<slug:name>/uncordon/", node_apis.NodeUncordonApi.as_view()),
    path("nodes/<slug:name>/drain/", node_apis.NodeDrainApi.as_view()),
    path("node-join-tokens/", node_apis.JoinTokenListApi.as_view()),
    path("node-join-tokens/<int:token_id>/", node_apis.JoinTokenApi.as_view()),
    path("internal/nodes/join/", node_apis.NodeJoinApi.as_view()),
    path("internal/nodes/heartbeat/", HeartbeatApi.as_view()),
]
