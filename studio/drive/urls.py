"""Addresses of the drive, below /api/drive/."""

from django.urls import path

from studio.drive import apis, share_apis, tus_apis

urlpatterns = [
    path("", apis.DriveUseApi.as_view()),
    path("list/", apis.DriveListApi.as_view()),
    path("tree/", apis.DriveTreeApi.as_view()),
    path("search/", apis.DriveSearchApi.as_view()),
    path("folders/", apis.DriveFolderApi.as_view()),
    path("rename/", apis.DriveRenameApi.as_view()),
    path("move/", apis.DriveMoveApi.as_view()),
    path("file/", apis.DriveFileApi.as_view()),
    path("archive/", apis.DriveArchiveApi.as_view()),
    path("text/", apis.DriveTextApi.as_view()),
    path("preview/", apis.DrivePreviewApi.as_view()),
    path("trash/", apis.DriveTrashApi.as_view()),
    path("trash/<uuid:entry_id>/", apis.DriveTrashEntryApi.as_view()),
    path("trash/<uuid:entry_id>/restore/", apis.DriveRestoreApi.as_view()),
    path("works/", apis.DriveWorkListApi.as_view()),
    path("works/<uuid:work_id>/", apis.DriveWorkApi.as_view()),
    path("shares/", share_apis.ShareListApi.as_view()),
    path("shares/<uuid:share_id>/", share_apis.ShareApi.as_view()),
    path("shared/<str:token>/", share_apis.SharedApi.as_view()),
    path("shared/<str:token>/file/", share_apis.SharedFileApi.as_view()),
    path("health/", apis.DriveHealthApi.as_view()),
    path("quotas/<str:username>/", apis.DriveQuotaApi.as_view()),
    path("uploads/", tus_apis.UploadListApi.as_view()),
    path("uploads/<uuid:upload_id>", tus_apis.UploadApi.as_view()),
]
