"""Addresses of /share, below /api/."""

from django.urls import path, re_path

from studio.hub.node_share import apis

urlpatterns = [
    path("node-share/", apis.NodeShareApi.as_view()),
    re_path(
        r"^node-share/(?P<kind>model|dataset)/(?P<namespace>[\w.\-]+)/(?P<name>[\w.\-]+)/$",
        apis.SharedRepoApi.as_view(),
    ),
    path("internal/nodes/share/", apis.NodeShareReportApi.as_view()),
]
