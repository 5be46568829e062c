"""Signs in the callers of async views, by the same classes as the rest of the API."""

from dataclasses import dataclass
from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpRequest
from rest_framework.exceptions import APIException
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from studio.accounts.authentication import (
    BrowserSessionAuthentication,
    PersonalTokenAuthentication,
)
from studio.accounts.models import User
from studio.core.errors import Forbidden, StudioError
from studio.core.permissions import SignedInWithScope
from studio.machines.machine_tokens import MachineTokenAuthentication
from studio.serving.keys import PREFIX, find_key
from studio.serving.models import ApiKey


class NotSignedIn(StudioError):
    """Nobody knows who is calling."""

    code = "not_signed_in"
    status = 401


@dataclass(frozen=True)
class Caller:
    """Who is calling, and with which API key if with one."""

    user: User
    api_key: ApiKey | None = None


async def call_in(request: HttpRequest, *, scope: str) -> Caller:
    """Return who is calling, as `sign_in` does, but by an API key too.

    Raises:
        NotSignedIn, Forbidden: as `sign_in`.
    """
    scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not raw.strip().startswith(PREFIX):
        return Caller(await sign_in(request, scope=scope))
    key = await database_sync_to_async(find_key)(raw.strip())
    if key is None:
        raise NotSignedIn("This API key is unknown, revoked or expired: make a new one.")
    return Caller(key.user, key)


async def sign_in(request: HttpRequest, *, scope: str) -> User:
    """Return who is calling: by a token with this scope, or by the browser's session.

    Raises:
        NotSignedIn: neither is there, or it is no good.
        Forbidden: the token lacks the scope, or the session's request its CSRF token.
    """
    return await database_sync_to_async(_sign_in)(request, scope)


class _Unread(BaseParser):
    """Leaves the body to the view; the CSRF check would look for its token in a form."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return nothing and read nothing."""
        return {}


class _Door:
    """What a permission class wants to know of a view."""

    def __init__(self, scope: str) -> None:
        self.required_scope = scope


def _sign_in(request: HttpRequest, scope: str) -> User:
    classes = (
        MachineTokenAuthentication(),
        PersonalTokenAuthentication(),
        BrowserSessionAuthentication(),
    )
    asked: Any = Request(request, parsers=[_Unread()], authenticators=list(classes))
    try:
        user, auth = asked.user, asked.auth
    except APIException as error:
        raise NotSignedIn(str(error.detail)) from error
    if not user.is_authenticated:
        raise NotSignedIn("Sign in, or send an API token: Authorization: Bearer ath_...")
    if auth is not None and not SignedInWithScope().has_permission(asked, _Door(scope)):
        raise Forbidden(
            f"This token lacks the scope {scope}: make one with it on your profile page.",
            code="scope_missing",
            scope=scope,
        )
    return user
