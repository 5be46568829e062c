"""The OpenAI-compatible HTTP side of a server: parse, ask the backend, shape the answer."""

import hmac
import uuid
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from engine.errors import EngineError
from engine.serve.backend import Backend, QueueFull, RequestRefused
from engine.serve.openai_shapes import (
    AnswerShape,
    ChatBody,
    LoadBody,
    UnloadBody,
    explain_body,
    shape_error,
    shape_models,
)
from engine.serve.streaming import AnswerResponse, LiveAnswer

_BEARER = HTTPBearer(auto_error=False)


def build_app(backend: Backend, *, token: str | None = None) -> FastAPI:
    """Make the app around a backend. With a `token`, all but `/health` asks for it as bearer."""
    app = FastAPI(title="Athanor model server", docs_url=None, redoc_url=None, openapi_url=None)
    app.exception_handler(RequestValidationError)(_answer_bad_body)
    app.exception_handler(RequestRefused)(_answer_refusal)
    app.exception_handler(EngineError)(_answer_engine_error)
    app.exception_handler(HTTPException)(_answer_http_error)
    guard = [Depends(_make_guard(token))]

    @app.get("/health")
    def health() -> Response:
        is_healthy = backend.is_healthy()
        body = {"status": "ok" if is_healthy else "failed"}
        return JSONResponse(body, 200 if is_healthy else 503)

    @app.get("/v1/models", dependencies=guard)
    def list_models() -> dict[str, Any]:
        return shape_models(backend.list_models())

    @app.post("/v1/chat/completions", dependencies=guard)
    async def chat(body: ChatBody) -> Response:
        answer = await LiveAnswer.start(backend, body.to_request())
        usage = bool(body.stream_options and body.stream_options.include_usage)
        shape = AnswerShape(f"chatcmpl-{uuid.uuid4().hex}", body.model)
        return AnswerResponse(answer, shape, stream=body.stream, usage=usage)

    @app.post("/v1/load_lora_adapter", dependencies=guard)
    def load_adapter(body: LoadBody) -> dict[str, str]:
        backend.load_adapter(body.lora_name, body.lora_path)
        return {"status": "loaded", "lora_name": body.lora_name}

    @app.post("/v1/unload_lora_adapter", dependencies=guard)
    def unload_adapter(body: UnloadBody) -> dict[str, str]:
        backend.unload_adapter(body.lora_name)
        return {"status": "unloaded", "lora_name": body.lora_name}

    return app


def _make_guard(token: str | None) -> Any:
    Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]

    async def check_token(bearer: Bearer) -> None:
        given = bearer.credentials if bearer else ""
        if token and not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "Send this server's token as: Authorization: Bearer TOKEN.")

    return check_token


async def _answer_bad_body(request: Request, error: RequestValidationError) -> Response:
    message, param = explain_body(error.errors())
    return JSONResponse(shape_error(message, "invalid_request_error", "bad_request", param), 400)


async def _answer_refusal(request: Request, error: RequestRefused) -> Response:
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, QueueFull) else None
    kind = "invalid_request_error" if error.status < 429 else "server_busy"
    body = shape_error(error.message, kind, error.code, error.field)
    return JSONResponse(body, error.status, headers)


async def _answer_engine_error(request: Request, error: EngineError) -> Response:
    body = shape_error(error.message, "invalid_request_error", error.reason.value, "lora_path")
    return JSONResponse(body, 400)


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    kind = "authentication_error" if error.status_code == 401 else "invalid_request_error"
    body = shape_error(str(error.detail), kind, None, None)
    return JSONResponse(body, error.status_code, error.headers)
