"""The OpenAI-compatible gateway: models, chats, texts, vectors; errors in OpenAI's shape."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from functools import wraps
from typing import Any

import structlog
from channels.db import database_sync_to_async
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from studio.core.errors import BadInput, NotFound, StudioError
from studio.core.inputs import JsonParser
from studio.hub.models import Repo, Role
from studio.hub.selectors import get_repo
from studio.serving.answers import Answer
from studio.serving.doors import call_in
from studio.serving.gateway import Terms, UpstreamRefusal, open_answer
from studio.serving.selectors import ModelNotServed, list_models

log = structlog.get_logger(__name__)
SCOPE = "chat"
_DEADLINE = "X-Athanor-Deadline"
_MOST_DEADLINE_S = 3600.0
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def gateway_view(method: str) -> Callable[[View], View]:
    """Make a view of the gateway: one method, and every refusal in OpenAI's shape.

    CSRF is checked by `sign_in`, for sessions alone.
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        async def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            if request.method != method:
                return _refuse(405, f"Use {method} here.", "method_not_allowed")
            try:
                return await view(request, **kwargs)
            except UpstreamRefusal as error:
                return JsonResponse(error.body, status=error.status, headers=error.headers)
            except StudioError as error:
                return _answer_error(error)
            except DatabaseError:  # away for now: answered around the views, as everywhere
                raise
            except Exception:  # the outermost frame: clients of OpenAI's read no HTML
                log.exception("gateway.failed", path=request.path)
                return _refuse(500, "The studio failed at this request.", "internal_error")

        return guarded

    return decorate


@gateway_view("GET")
async def list_all(request: HttpRequest) -> HttpResponseBase:
    """Answer the models that the caller may ask."""
    caller = await call_in(request, scope=SCOPE)
    models = await database_sync_to_async(list_models)(caller.user)
    allowed = set(caller.api_key.allowed_models) if caller.api_key else set()
    shown = [_show_model(repo) for repo in models if not allowed or repo.repo_id in allowed]
    return JsonResponse({"object": "list", "data": shown})


@gateway_view("GET")
async def get_one(request: HttpRequest, model: str) -> HttpResponseBase:
    """Answer one model."""
    caller = await call_in(request, scope=SCOPE)
    repo_id = model.partition("@")[0]
    namespace, _, name = repo_id.partition("/")
    allowed = set(caller.api_key.allowed_models) if caller.api_key else set()
    try:
        if allowed and repo_id not in allowed:
            raise NotFound
        repo = await database_sync_to_async(get_repo)(caller.user, "model", namespace, name)
    except NotFound as error:
        message = f"There is no model {model[:200]!r} that you may use."
        raise ModelNotServed(message, field="model") from error
    return JsonResponse(_show_model(repo))


@gateway_view("POST")
async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    """Answer a conversation, streamed where it asks for that."""
    return await _answer(request, "chat/completions")


@gateway_view("POST")
async def completions(request: HttpRequest) -> HttpResponseBase:
    """Go on with a text, streamed where it asks for that."""
    return await _answer(request, "completions")


@gateway_view("POST")
async def embeddings(request: HttpRequest) -> HttpResponseBase:
    """Turn texts into vectors."""
    return await _answer(request, "embeddings")


async def _answer(request: HttpRequest, door: str) -> HttpResponseBase:
    caller = await call_in(request, scope=SCOPE)
    body = _read_body(request)
    terms = Terms(door=door, api_key=caller.api_key, deadline_s=_read_deadline(request))
    answer = await open_answer(caller.user, body, terms=terms)
    if answer.is_stream:
        return StreamingHttpResponse(
            _relay(answer), content_type="text/event-stream", headers=_STREAM_HEADERS
        )
    try:
        return JsonResponse(await answer.whole())
    finally:
        await answer.close()


def _read_deadline(request: HttpRequest) -> float | None:
    given = request.headers.get(_DEADLINE)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_DEADLINE_S:
        raise BadInput(
            f"{_DEADLINE}: write the seconds that you wait, more than 0 and at most "
            f"{_MOST_DEADLINE_S:g}.",
            field=_DEADLINE,
        )
    return seconds


async def _relay(answer: Answer) -> AsyncIterator[bytes]:
    """Pass a stream on, event by event; a caller who leaves ends it at the server too."""
    try:
        async with aclosing(answer.events()) as events:
            async for event in events:
                yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
        await answer.close()  # first, so that who has read the end finds the use on record
        yield b"data: [DONE]\n\n"
    except StudioError as error:  # the status line is sent: only an event can tell
        yield f"data: {json.dumps(_shape_error(error))}\n\n".encode()
    finally:
        await answer.close()


def _read_body(request: HttpRequest) -> dict[str, Any]:
    body = JsonParser().parse(request)
    if not isinstance(body, dict):
        raise BadInput("The body is not an object: send a JSON object.", code="bad_json")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise BadInput("model is missing: name one of /v1/models.", field="model")
    if not isinstance(body.get("stream"), bool | None):
        raise BadInput("stream: write true or false.", field="stream")
    return body


def _show_model(repo: Repo) -> dict[str, Any]:
    is_adapter = repo.role == Role.ADAPTER
    return {
        "id": repo.repo_id,
        "object": "model",
        "created": int(repo.created_at.timestamp()),
        "owned_by": repo.namespace,
        "root": repo.base_model if is_adapter else repo.repo_id,
        "parent": repo.base_model if is_adapter else None,
    }


def _shape_error(error: StudioError) -> dict[str, Any]:
    kinds = {
        401: "authentication_error",
        402: "insufficient_quota",
        403: "permission_error",
        503: "server_error",
    }
    kind = kinds.get(error.status, "invalid_request_error")
    body = {"message": error.message, "type": kind, "param": error.field, "code": error.code}
    return {"error": body}


def _answer_error(error: StudioError) -> JsonResponse:
    headers = {"Retry-After": "2"} if error.status == 503 else None
    return JsonResponse(_shape_error(error), status=error.status, headers=headers)


def _refuse(status: int, message: str, code: str) -> JsonResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"message": message, "type": kind, "param": None, "code": code}
    return JsonResponse({"error": body}, status=status)
