"""Addresses of people, their tokens and their sign-in links."""

from django.urls import path

from studio.accounts import apis, organization_apis, ssh_key_apis
from studio.accounts.pages import signin

urlpatterns = [
    path("signin/<str:token>/", signin, name="signin"),
    path("api/me/", apis.MeApi.as_view()),
    path("api/me/password/", apis.PasswordApi.as_view()),
    path("api/tokens/", apis.TokenListApi.as_view()),
    path("api/tokens/<int:token_id>/", apis.TokenApi.as_view()),
    path("api/ssh-keys/", ssh_key_apis.SshKeyListApi.as_view()),
    path("api/ssh-keys/generate/", ssh_key_apis.SshKeyGenerateApi.as_view()),
    path("api/ssh-keys/<int:key_id>/", ssh_key_apis.SshKeyApi.as_view()),
    path("api/organizations/", organization_apis.OrganizationListApi.as_view()),
    path("api/organizations/<str:name>/", organization_apis.OrganizationApi.as_view()),
    path(
        "api/organizations/<str:name>/members/",
        organization_apis.OrganizationMembersApi.as_view(),
    ),
    path(
        "api/organizations/<str:name>/members/<str:username>/",
        organization_apis.OrganizationMemberApi.as_view(),
    ),
    path("api/users/", apis.UserListApi.as_view()),
    path("api/users/<int:user_id>/", apis.UserApi.as_view()),
    path("api/users/<int:user_id>/signin-link/", apis.SigninLinkApi.as_view()),
]
