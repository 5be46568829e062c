"""Addresses of the doors for large files: Xet and LFS. None ends in a slash."""

from django.urls import re_path

from studio.hub.huggingface import transfers
from studio.hub.xet import apis

_REPO = r"(?P<namespace>[A-Za-z0-9][\w.\-]*)/(?P<name>[\w.\-]+?)"
_HASH = r"[0-9A-Za-z_.\-]+"
_XET = r"^api/xet/[0-9a-f]{16}"

urlpatterns = [
    re_path(r"^api/lfs/verify$", transfers.LfsVerifyApi.as_view()),
    re_path(r"^api/lfs/uploads/(?P<word>[^/]+)$", transfers.LfsUploadApi.as_view()),
    re_path(r"^api/xet/xorbs/(?P<xorb>[0-9a-f]{64})$", apis.send_xorb),
    re_path(rf"{_XET}/v1/xorbs/(?P<prefix>[^/]+)/(?P<xorb>{_HASH})$", apis.XorbUploadApi.as_view()),
    re_path(rf"{_XET}/v(?P<version>[12])/shards$", apis.ShardUploadApi.as_view()),
    re_path(
        rf"{_XET}/v(?P<version>[12])/reconstructions/(?P<file>{_HASH})$",
        apis.ReconstructionApi.as_view(),
    ),
    re_path(rf"{_XET}/v1/reconstructions$", apis.BatchReconstructionApi.as_view()),
    re_path(
        rf"{_XET}/v1/chunks/(?P<prefix>[^/]+)/(?P<chunk>{_HASH})$", apis.KnownChunkApi.as_view()
    ),
]
for _kind, _prefix in (("model", ""), ("dataset", "datasets/")):
    urlpatterns += [
        re_path(
            rf"^api/{_kind}s/{_REPO}/xet-(?P<action>read|write)-token/(?P<revision>.+)$",
            transfers.XetTokenApi.as_view(),
            {"kind": _kind},
        ),
        re_path(
            rf"^{_prefix}{_REPO}\.git/info/lfs/objects/batch$",
            transfers.LfsBatchApi.as_view(),
            {"kind": _kind},
        ),
    ]
