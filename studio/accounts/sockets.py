"""Who opens a WebSocket: a script with its token, or a browser of ours with its session."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from django.contrib.auth.models import AnonymousUser

from studio.accounts.authentication import find_token, read_bearer
from studio.accounts.models import User

Application = Callable[[dict[str, Any], Any, Any], Awaitable[Any]]


class TokenOrSession:
    """Puts `user` into the scope.

    A token needs no Origin check: no browser sends one by itself. It must have the scope `read`. A
    session is taken only from a page of the very host and port that it asks: cookies know no ports,
    so another server on the same host is sent them too.
    """

    def __init__(self, inner: Application) -> None:
        """Take what comes after."""
        self._inner = inner
        self._for_browsers = AllowedHostsOriginValidator(AuthMiddlewareStack(inner))
        self._refuse = WebsocketDenier()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        """Find out who it is and go on."""
        raw = read_bearer(dict(scope["headers"]).get(b"authorization", b""))
        if raw is None:
            is_ours = _comes_from_its_own_host(dict(scope["headers"]))
            door = self._for_browsers if is_ours else self._refuse
            return await door(scope, receive, send)
        user = await database_sync_to_async(_find_reader)(raw)
        return await self._inner({**scope, "user": user}, receive, send)


def _comes_from_its_own_host(headers: dict[bytes, bytes]) -> bool:
    origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
    return bool(host) and origin.partition("://")[2].lower() == host.lower()


def _find_reader(raw: str) -> User | AnonymousUser:
    token = find_token(raw)
    return token.user if token and token.allows("read") else AnonymousUser()
