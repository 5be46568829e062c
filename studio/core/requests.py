"""Around every request: an id, one structured line, and refusals of what no view could answer."""

import time
import uuid
from collections.abc import Awaitable, Callable

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import TimeoutError as RedisSilent

from studio.core.errors import to_body

log = structlog.get_logger("studio.request")
_QUIET = ("/healthz", "/static/", "/api/internal/")
_AWAY = (RedisAway, RedisSilent, OperationalError, InterfaceError)


class RequestLog:
    """Binds `request_id` (a proxy's X-Request-ID is taken over) and logs the request."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        """Keep the rest of the chain."""
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Run the request with its id bound."""
        request_id = request.headers.get("X-Request-ID", "")[:64] or uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        begun = time.perf_counter()
        response = _refuse_nul(request) or await self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        if not request.path.startswith(_QUIET) or response.status_code >= 500:
            elapsed_ms = round((time.perf_counter() - begun) * 1000, 1)
            log.info(
                "request",
                method=request.method,
                path=_hide_secret(request.path),
                status=response.status_code,
                elapsed_ms=elapsed_ms,
            )
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> JsonResponse | None:
        """Answer 503 while the database or Redis is away; leave any other fault to be a 500."""
        if not isinstance(error, _AWAY):
            return None
        said = f"{type(error).__name__}: {error}"
        log.error("part.away", path=_hide_secret(request.path), error=said)
        body = to_body("unavailable", "A part of the studio is away: try again in a moment.")
        return JsonResponse(body, status=503, headers={"Retry-After": "2"})


def _hide_secret(path: str) -> str:
    """Leave out the one address whose last part lets somebody in."""
    return "/signin/..." if path.startswith("/signin/") else path


def _refuse_nul(request: HttpRequest) -> JsonResponse | None:
    """Refuse an address with a NUL character, which PostgreSQL takes in no text."""
    if "\0" not in request.path and "%00" not in request.META.get("QUERY_STRING", ""):
        return None
    body = to_body("bad_input", "The address holds a NUL character (%00): leave it out.")
    return JsonResponse(body, status=400)
