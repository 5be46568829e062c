"""Oneself, one's tokens, and people, at the API."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import update_session_auth_hash
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from studio.accounts import serializers as shapes
from studio.accounts.models import Role, User
from studio.accounts.onboarding import get_onboarding
from studio.accounts.selectors import get_user, list_tokens, list_users
from studio.accounts.services import (
    create_personal_token,
    create_user,
    make_signin_link,
    revoke_token,
    set_password,
    update_me,
    update_user,
)
from studio.accounts.viewers import viewer_of
from studio.core.errors import NotFound
from studio.core.inputs import read_input
from studio.core.pagination import Pages
from studio.core.permissions import IsAdministrator, IsOperator, SignedInByBrowser
from studio.points.selectors import Balance, Use, get_balances
from studio.points.uses import list_uses

_PAGE = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]


class MeApi(APIView):
    @extend_schema(operation_id="me_retrieve", responses=shapes.MeOutput)
    def get(self, request: Request) -> Response:
        return Response(_show_me(viewer_of(request)))

    @extend_schema(operation_id="me_update", request=shapes.MeInput, responses=shapes.MeOutput)
    def patch(self, request: Request) -> Response:
        changes = read_input(shapes.MeInput, request.data, partial=True)
        return Response(_show_me(update_me(user=viewer_of(request), **changes)))


class PasswordApi(APIView):
    permission_classes = [SignedInByBrowser]

    @extend_schema(operation_id="me_password", request=shapes.PasswordInput, responses={204: None})
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.PasswordInput, request.data)
        user = viewer_of(request)
        set_password(user=user, new=wish["new_password"], current=wish.get("current_password"))
        update_session_auth_hash(request._request, user)
        return Response(status=204)


class TokenListApi(APIView):
    permission_classes = [SignedInByBrowser]

    @extend_schema(operation_id="tokens_list", parameters=_PAGE, responses=shapes.TokenPageOutput)
    def get(self, request: Request) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(list_tokens(viewer_of(request)), request, view=self)
        return pages.get_paginated_response(shapes.TokenOutput(page, many=True).data)

    @extend_schema(
        operation_id="tokens_create",
        request=shapes.TokenCreateInput,
        responses={201: shapes.TokenCreatedOutput},
    )
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.TokenCreateInput, request.data)
        token, raw = create_personal_token(user=viewer_of(request), **wish)
        shown = dict(shapes.TokenOutput(token).data)
        return Response({**shown, "token": raw}, status=201)


class TokenApi(APIView):
    permission_classes = [SignedInByBrowser]

    @extend_schema(operation_id="tokens_destroy", request=None, responses={204: None})
    def delete(self, request: Request, token_id: int) -> Response:
        token = list_tokens(viewer_of(request)).filter(pk=token_id).first()
        if token is None:
            raise NotFound
        revoke_token(by=viewer_of(request), token=token)
        return Response(status=204)


class UserListApi(APIView):
    def get_permissions(self) -> list[Any]:
        """Let operators look and administrators add."""
        return [IsAdministrator() if self.request.method == "POST" else IsOperator()]

    @extend_schema(
        operation_id="users_list",
        parameters=[OpenApiParameter("search", str), *_PAGE],
        responses=shapes.UserPageOutput,
    )
    def get(self, request: Request) -> Response:
        users = list_users(
            viewer_of(request), search=request.query_params.get("search", "").strip()
        )
        pages = Pages()
        page = pages.paginate_queryset(users, request, view=self) or []
        return pages.get_paginated_response(_show_users(page))

    @extend_schema(
        operation_id="users_create",
        request=shapes.UserCreateInput,
        responses={201: shapes.UserOutput},
    )
    def post(self, request: Request) -> Response:
        wish = read_input(shapes.UserCreateInput, request.data)
        user = create_user(by=viewer_of(request), **wish)
        return Response(_show_users([user])[0], status=201)


class UserApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(
        operation_id="users_update", request=shapes.UserInput, responses=shapes.UserOutput
    )
    def patch(self, request: Request, user_id: int) -> Response:
        user = get_user(viewer_of(request), user_id)
        changes = read_input(shapes.UserInput, request.data, partial=True)
        user = update_user(by=viewer_of(request), user=user, **changes)
        return Response(_show_users([user])[0])


class SigninLinkApi(APIView):
    permission_classes = [IsAdministrator]

    @extend_schema(
        operation_id="users_signin_link", request=None, responses=shapes.SigninLinkOutput
    )
    def post(self, request: Request, user_id: int) -> Response:
        user = get_user(viewer_of(request), user_id)
        url, link = make_signin_link(user=user, by=viewer_of(request))
        shown = shapes.SigninLinkOutput({"url": url, "expires_at": link.expires_at})
        return Response(shown.data)


def _show_me(user: User) -> dict[str, Any]:
    can = {
        "grant_points": user.has_role(Role.OPERATOR),
        "administer": user.has_role(Role.ADMINISTRATOR),
    }
    shown = {
        "can": can,
        "onboarding": get_onboarding(user),
        "has_password": user.has_usable_password(),
    }
    return {**shapes.PersonOutput(user).data, **shown}


def _show_users(users: Iterable[User]) -> list[dict[str, Any]]:
    people = list(users)
    ids = [user.pk for user in people]
    balances, uses = get_balances(ids), list_uses(ids)
    for user in people:
        balance, use = balances.get(user.pk, Balance()), uses.get(user.pk, Use())
        user.available_mpoints = balance.available_mpoints  # type: ignore[attr-defined]
        user.held_mpoints = balance.held_mpoints - use.unwritten_mpoints  # type: ignore[attr-defined]
    return [dict(shown) for shown in shapes.UserOutput(people, many=True).data]
