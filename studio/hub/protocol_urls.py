"""Addresses of the Hugging Face-compatible API, in the Hub's form: none ends in a slash."""

from django.urls import path, re_path

from studio.hub import protocol

_REPO = r"(?P<namespace>[A-Za-z0-9][\w.\-]*)/(?P<name>[\w.\-]+)"
# A revision is one part, but for git's full names; clients send their slashes encoded.
_REV = r"(?P<revision>refs/(?:heads|pr|convert)/[^/]+|[^/]+)"
_DOORS = [
    (r"$", protocol.RepoInfoApi),
    (rf"/revision/{_REV}$", protocol.RepoInfoApi),
    (rf"/tree/{_REV}(?:/(?P<path>.*))?$", protocol.TreeApi),
    (rf"/paths-info/{_REV}$", protocol.PathsInfoApi),
    (r"/refs$", protocol.RefsApi),
    (rf"/commits/{_REV}$", protocol.CommitsApi),
    (rf"/preupload/{_REV}$", protocol.PreuploadApi),
    (rf"/commit/{_REV}$", protocol.CommitApi),
]

urlpatterns = [
    path("api/whoami-v2", protocol.WhoAmIApi.as_view()),
    path("api/validate-yaml", protocol.ValidateYamlApi.as_view()),
    path("api/repos/create", protocol.CreateRepoApi.as_view()),
    path("api/repos/delete", protocol.DeleteRepoApi.as_view()),
]
for _kind, _prefix in (("model", ""), ("dataset", "datasets/")):
    urlpatterns += [
        re_path(rf"^api/{_kind}s/{_REPO}{_end}", _door.as_view(), {"kind": _kind})
        for _end, _door in _DOORS
    ]
    urlpatterns.append(
        re_path(
            rf"^{_prefix}{_REPO}/resolve/{_REV}/(?P<path>.+)$",
            protocol.ResolveApi.as_view(),
            {"kind": _kind},
        )
    )
