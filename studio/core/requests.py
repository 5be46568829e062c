"""One structured line per request, and a request id that every line of it carries."""

import time
import uuid
from collections.abc import Awaitable, Callable

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

log = structlog.get_logger("studio.request")
_QUIET = ("/healthz", "/static/", "/api/internal/")


class RequestLog:
    """Binds `request_id` (taken over from a proxy's X-Request-ID) and logs method, path, status, milliseconds."""

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
        response = await self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        if not request.path.startswith(_QUIET) or response.status_code >= 500:
            elapsed_ms = round((time.perf_counter() - begun) * 1000, 1)
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                elapsed_ms=elapsed_ms,
            )
        return response
