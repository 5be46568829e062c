"""Addresses of the Hugging Face-compatible API, in the Hub's form: none ends in a slash."""

from django.urls import path, re_path

from studio.hub.huggingface import apis, like_apis, manage_apis

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
    (r"/branch/(?P<branch>[^/]+)$", manage_apis.BranchApi),
    (r"/tag/(?P<tag>[^/]+)$", manage_apis.TagApi),
    (r"/super-squash/(?P<branch>[^/]+)$", manage_apis.SquashApi),
    (r"/settings$", manage_apis.SettingsApi),
    (r"/auth-check$", manage_apis.AuthCheckApi),
    (r"/like$", like_apis.LikeApi),
    (r"/likers$", like_apis.LikersApi),
    (r"/ask-access$", manage_apis.AskAccessApi),
    (
        r"/user-access-request/(?P<state>pending|accepted|rejected)$",
        manage_apis.AccessListApi,
    ),
    (r"/user-access-request/(?P<action>handle|grant)$", manage_apis.AccessDecisionApi),
    (r"/lfs-files/duplicate$", manage_apis.DuplicateFilesApi),
]

urlpatterns = [
    path("api/whoami-v2", apis.WhoAmIApi.as_view()),
    path("api/validate-yaml", apis.ValidateYamlApi.as_view()),
    path("api/repos/create", apis.CreateRepoApi.as_view()),
    path("api/repos/delete", apis.DeleteRepoApi.as_view()),
    re_path(r"^api/users/(?P<username>[^/]+)/likes$", like_apis.UserLikesApi.as_view()),
    path("api/repos/move", manage_apis.MoveRepoApi.as_view()),
    path("api/models", manage_apis.RepoListApi.as_view(), {"kind": "model"}),
    path("api/datasets", manage_apis.RepoListApi.as_view(), {"kind": "dataset"}),
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
