"""Addresses of the Hugging Face-compatible API, in the Hub's form: none ends in a slash."""

from django.urls import path, re_path

from studio.hub.huggingface import apis

_REPO = r"(?P<namespace>[A-Za-z0-9][\w.\-]*)/(?P<name>[\w.\-]+)"
# A revision is one part, but for git's full names; clients send their slashes encoded.
_REV = r"(?P<revision>refs/(?:heads|pr|convert)/[^/]+|[^/]+)"
_DOORS = [
    (r"$", apis.RepoInfoApi),
    (rf"/revision/{_REV}$", apis.RepoInfoApi),
    (rf"/tree/{_REV}(?:/(?P<path>.*))?$", apis.TreeApi),
    (rf"/paths-info/{_REV}$", apis.PathsInfoApi),
    (r"/refs$", apis.RefsApi),
    (rf"/commits/{_REV}$", apis.CommitsApi),
    (rf"/preupload/{_REV}$", apis.PreuploadApi),
    (rf"/commit/{_REV}$", apis.CommitApi),
]

urlpatterns = [
    path("api/whoami-v2", apis.WhoAmIApi.as_view()),
    path("api/validate-yaml", apis.ValidateYamlApi.as_view()),
    path("api/repos/create", apis.CreateRepoApi.as_view()),
    path("api/repos/delete", apis.DeleteRepoApi.as_view()),
]
for _kind, _prefix in (("model", ""), ("dataset", "datasets/")):
    urlpatterns += [
        re_path(rf"^api/{_kind}s/{_REPO}{_end}", _door.as_view(), {"kind": _kind})
        for _end, _door in _DOORS
    ]
    urlpatterns.append(
        re_path(
            rf"^{_prefix}{_REPO}/resolve/{_REV}/(?P<path>.+)$",
            apis.ResolveApi.as_view(),
            {"kind": _kind},
        )
    )
