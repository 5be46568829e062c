"""Addresses of jobs, runs and specs, and the door the nodes post to."""

from django.urls import path

from studio.jobs import apis, data_apis, internal_apis

urlpatterns = [
    path("specs/<slug:kind>/", apis.SpecApi.as_view()),
    path("jobs/", apis.JobListApi.as_view()),
    path("jobs/estimate/", apis.JobEstimateApi.as_view()),
    path("jobs/datasets/", data_apis.SuitedDatasetsApi.as_view()),
    path("jobs/previews/", data_apis.PreviewListApi.as_view()),
    path("jobs/previews/<uuid:job_id>/", data_apis.PreviewApi.as_view()),
    path("jobs/<uuid:job_id>/", apis.JobApi.as_view()),
    path("jobs/<uuid:job_id>/stop/", apis.JobStopApi.as_view()),
    path("jobs/<uuid:job_id>/retry/", apis.JobRetryApi.as_view()),
    path("runs/<uuid:run_id>/events/", apis.RunEventsApi.as_view()),
    path("runs/<uuid:run_id>/metrics/", apis.RunMetricsApi.as_view()),
    path("runs/<uuid:run_id>/samples/", apis.RunSamplesApi.as_view()),
    path("runs/<uuid:run_id>/log/", apis.RunLogApi.as_view()),
    path("runs/<uuid:run_id>/log/search/", apis.RunLogSearchApi.as_view()),
    path("runs/<uuid:run_id>/log/download/", apis.RunLogDownloadApi.as_view()),
    path("internal/runs/<uuid:run_id>/claim/", internal_apis.RunClaimApi.as_view()),
    path("internal/runs/<uuid:run_id>/refuse/", internal_apis.RunRefuseApi.as_view()),
    path("internal/runs/<uuid:run_id>/events/", internal_apis.RunPostApi.as_view()),
]
