"""Addresses of deployments, their settings, rollouts, API keys and uses, below /api/."""

from django.urls import path

from studio.serving import apis, key_apis, rollout_apis, settings_apis

urlpatterns = [
    path("deployments/", apis.DeploymentListApi.as_view()),
    path("deployments/<uuid:deployment_id>/stop/", apis.DeploymentStopApi.as_view()),
    path("deployments/<uuid:deployment_id>/restart/", apis.DeploymentRestartApi.as_view()),
    path("deployments/<uuid:deployment_id>/health/", apis.DeploymentHealthApi.as_view()),
    path("serving/settings/", settings_apis.ServingSettingsListApi.as_view()),
    path(
        "serving/settings/<str:namespace>/<str:name>/", settings_apis.ServingSettingsApi.as_view()
    ),
    path("rollouts/", rollout_apis.RolloutListApi.as_view()),
    path("rollouts/<int:rollout_id>/rollback/", rollout_apis.RollbackApi.as_view()),
    path("rollouts/<int:rollout_id>/follow/", rollout_apis.FollowApi.as_view()),
    path("api-keys/", key_apis.ApiKeyListApi.as_view()),
    path("api-keys/<int:key_id>/", key_apis.ApiKeyApi.as_view()),
    path("model-uses/", key_apis.UseListApi.as_view()),
]
