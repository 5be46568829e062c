"""Who opens a WebSocket: a script with its token, or a browser of ours with its session."""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from studio.accounts.authentication import find_token, read_bearer
from studio.accounts.models import User

_in_a_pool = partial(database_sync_to_async, thread_sensitive=False)
Application = Callable[[dict[str, Any], Any, Any], Awaitable[Any]]


class TokenOrSession:
    """Puts `user` into the scope, and `look_again()`, which returns who that is by now.

    A token needs no Origin check: no browser sends one by itself. It must have the scope `read`. A
    session is taken only from a page of the very host and port that it asks: cookies know no ports,
    so another server on the same host is sent them too.
    """

    def __init__(self, inner: Application) -> None:
        """Take what comes after."""
        self._inner = inner
        self._for_browsers = AllowedHostsOriginValidator(AuthMiddlewareStack(_Session(inner)))
        self._refuse = WebsocketDenier()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        """Find out who it is and go on."""
        raw = read_bearer(dict(scope["headers"]).get(b"authorization", b""))
        if raw is None:
            is_ours = _comes_from_its_own_host(dict(scope["headers"]))
            door = self._for_browsers if is_ours else self._refuse
            return await door(scope, receive, send)
        look_again = partial(_find_reader, raw)
        known = {"user": await look_again(), "look_again": look_again}
        return await self._inner({**scope, **known}, receive, send)


class _Session:
    """Puts `look_again` beside the session's user."""

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        look_again = partial(_find_session_user, scope["session"].session_key)
        return await self._inner({**scope, "look_again": look_again}, receive, send)


def _comes_from_its_own_host(headers: dict[bytes, bytes]) -> bool:
    origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
    return bool(host) and origin.partition("://")[2].lower() == host.lower()


@_in_a_pool
def _find_reader(raw: str) -> User | AnonymousUser:
    token = find_token(raw)
    return token.user if token and token.allows("read") else AnonymousUser()


@_in_a_pool
def _find_session_user(key: str | None) -> User | AnonymousUser:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return get_user(request)
