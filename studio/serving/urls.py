"""Addresses of deployments, below /api/."""

from django.urls import path

from studio.serving import apis

urlpatterns = [
    path("deployments/", apis.DeploymentListApi.as_view()),
    path("deployments/<uuid:deployment_id>/stop/", apis.DeploymentStopApi.as_view()),
]
