"""Addresses of dev machines, and the door their nodes post to."""

from django.urls import path

from studio.machines import apis, image_apis, node_apis, usage_apis

urlpatterns = [
    path("machines/", apis.MachineListApi.as_view()),
    path("machines/options/", apis.MachineOptionsApi.as_view()),
    path("machines/<slug:key>/", apis.MachineApi.as_view()),
    path("machines/<slug:key>/start/", apis.MachineStartApi.as_view()),
    path("machines/<slug:key>/stop/", apis.MachineStopApi.as_view()),
    path("machines/<slug:key>/restart/", apis.MachineRestartApi.as_view()),
    path("machines/<slug:key>/extend/", apis.MachineExtendApi.as_view()),
    path("machines/<slug:key>/change/", apis.MachineChangeApi.as_view()),
    path("machines/<slug:key>/reset/", apis.MachineResetApi.as_view()),
    path("machines/<slug:key>/save/", apis.MachineSaveApi.as_view()),
    path("machines/<slug:key>/clone/", apis.MachineCloneApi.as_view()),
    path("saved-images/", apis.SavedImageListApi.as_view()),
    path("saved-images/<slug:name>/", apis.SavedImageApi.as_view()),
    path("machines/<slug:key>/enter/", apis.MachineEnterApi.as_view()),
    path("machines/<slug:key>/usage/", usage_apis.MachineUsageApi.as_view()),
    path("machines/<slug:key>/keep/", usage_apis.MachineKeepApi.as_view()),
    path("machines/<slug:key>/ports/", apis.MachinePortListApi.as_view()),
    path("machines/<slug:key>/ports/<int:port>/", apis.MachinePortApi.as_view()),
    path("machine-images/", image_apis.ImageListApi.as_view()),
    path("machine-images/<slug:name>/retire/", image_apis.ImageRetireApi.as_view()),
    path("internal/nodes/machines/", node_apis.NodeMachinesApi.as_view()),
]
