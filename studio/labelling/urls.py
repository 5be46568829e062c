"""Addresses of labelling, below /api/labelling/."""

from django.urls import path

from studio.labelling import apis

_ONE = "projects/<uuid:project_id>/"
_ROW = f"{_ONE}rows/<int:row>/"

urlpatterns = [
    path("projects/", apis.LabellingListApi.as_view()),
    path(_ONE, apis.LabellingApi.as_view()),
    path(f"{_ONE}members/", apis.LabelMembersApi.as_view()),
    path(f"{_ONE}members/<str:username>/", apis.LabelMemberApi.as_view()),
    path(f"{_ONE}next/", apis.LabelNextApi.as_view()),
    path(f"{_ONE}undo/", apis.LabelUndoApi.as_view()),
    path(_ROW, apis.LabelWorkApi.as_view()),
    path(f"{_ROW}skip/", apis.LabelSkipApi.as_view()),
    path(f"{_ROW}decision/", apis.LabelDecisionApi.as_view()),
    path(f"{_ONE}figures/", apis.LabelFiguresApi.as_view()),
    path(f"{_ONE}disputes/", apis.LabelDisputesApi.as_view()),
    path(f"{_ONE}drafting/", apis.DraftingApi.as_view()),
    path(f"{_ONE}drafting/cost/", apis.DraftingCostApi.as_view()),
    path(f"{_ONE}save/", apis.LabelSaveApi.as_view()),
    path(f"{_ONE}export/<str:wanted>/", apis.LabelExportApi.as_view()),
]
