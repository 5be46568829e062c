"""Addresses of the dashboard's side of the hub, below /api/hub/."""

from django.urls import path, re_path

from studio.hub import apis
from studio.hub.browse import apis as browse
from studio.hub.catalogue import apis as catalogue
from studio.hub.viewer import apis as viewer

_KIND = "(?P<kind>model|dataset)"
_SHA = "(?P<sha>[0-9a-f]{40})"
_REPO = r"(?P<namespace>[\w.\-]+)/(?P<name>[\w.\-]+)"

urlpatterns = [
    path("repos/", apis.RepoListApi.as_view()),
    path("facets/", catalogue.FacetsApi.as_view()),
    path("datasets/", apis.DatasetUploadApi.as_view()),
    path("datasets/check/", apis.DatasetCheckApi.as_view()),
    re_path(rf"^repos/dataset/{_REPO}/viewer/$", viewer.ViewerTablesApi.as_view()),
    re_path(rf"^repos/dataset/{_REPO}/viewer/rows/$", viewer.ViewerRowsApi.as_view()),
    re_path(rf"^repos/dataset/{_REPO}/viewer/statistics/$", viewer.ViewerStatisticsApi.as_view()),
    re_path(rf"^repos/dataset/{_REPO}/viewer/media/$", viewer.ViewerMediaApi.as_view()),
    re_path(rf"^repos/dataset/{_REPO}/rows/$", apis.RepoRowsApi.as_view()),
    re_path(rf"^repos/dataset/{_REPO}/report/$", apis.RepoReportApi.as_view()),
    re_path(rf"^repos/dataset/{_REPO}/keep-good-rows/$", apis.KeepGoodRowsApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/folder/$", browse.FolderApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/tensors/$", browse.TensorsApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/history/$", browse.HistoryApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/history/{_SHA}/$", browse.CommitApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/history/{_SHA}/diff/$", browse.DiffApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/losses/$", browse.LossesApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/like/$", catalogue.LikeApi.as_view()),
    re_path(rf"^repos/{_KIND}/{_REPO}/$", apis.RepoApi.as_view()),
]
