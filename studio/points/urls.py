"""Addresses below `api/points/`."""

from django.urls import path

from studio.points.apis import GrantApi, PointsApi, StatementApi

urlpatterns = [
    path("", PointsApi.as_view()),
    path("statement/", StatementApi.as_view()),
    path("grants/", GrantApi.as_view()),
]
