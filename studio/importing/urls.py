"""Addresses of imports, below /api/imports/."""

from django.urls import path

from studio.importing import apis

urlpatterns = [
    path("", apis.ImportListApi.as_view()),
    path("<uuid:import_id>/", apis.ImportApi.as_view()),
    path("<uuid:import_id>/cancel/", apis.ImportCancelApi.as_view()),
    path("<uuid:import_id>/retry/", apis.ImportRetryApi.as_view()),
]
