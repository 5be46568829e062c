"""The OpenAI-compatible HTTP side of a server: parse, ask the backend, shape the answer."""

import asyncio
from typing import Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from engine.errors import EngineError
from engine.serve.asking import Asked, ask_chat, ask_completion, ask_tokens, resolve_model
from engine.serve.backend import (
    Backend,
    Departure,
    EmbedRequest,
    QueueFull,
    RequestRefused,
)
from engine.serve.callers import BAD_TOKEN, Caller, is_token, read_caller
from engine.serve.chat_shapes import ChatBody
from engine.serve.completion_shapes import CompletionBody
from engine.serve.door import Door, DoorMiddleware
from engine.serve.metrics import CONTENT_TYPE, Meters, Watchdog
from engine.serve.openai_shapes import (
    AskBody,
    explain_body,
    shape_error,
    shape_models,
    shape_refusal,
)
from engine.serve.other_shapes import (
    DetokenizeBody,
    EmbeddingBody,
    LoadBody,
    TokenizeBody,
    UnloadBody,
    shape_embeddings,
)
from engine.serve.streaming import AnswerResponse, LiveAnswer, wait_left

_MOST_EMBEDS = 64
_MOST_LOADS = 16
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def build_app(
    backend: Backend,
    *,
    token: str | None = None,
    door: Door | None = None,
    watchdog: Watchdog | None = None,
) -> FastAPI:
    """Make the app around a backend. With a `token`, all but `/health` asks for it as bearer,
    and that tells no more than how it is without.
    """
    app = FastAPI(title="Athanor model server", docs_url=None, redoc_url=None, openapi_url=None)
    door, watchdog = door or Door(), watchdog or Watchdog(backend)
    meters = Meters(backend, watchdog)
    app.add_middleware(DoorMiddleware, door=door, meters=meters)
    app.exception_handler(RequestValidationError)(_answer_bad_body)
    app.exception_handler(RequestRefused)(_answer_refusal)
    app.exception_handler(EngineError)(_answer_engine_error)
    app.exception_handler(HTTPException)(_answer_http_error)
    guard = [Depends(_make_guard(token))]
    _add_health(app, watchdog, meters, door, token, guard)
    _add_answers(app, backend, meters, token, guard)
    _add_tokens(app, backend, token, guard)
    _add_adapters(app, backend, guard)
    return app


def _add_health(
    app: FastAPI,
    watchdog: Watchdog,
    meters: Meters,
    door: Door,
    token: str | None,
    guard: list[Any],
) -> None:
    @app.get("/health")
    def health(bearer: Bearer) -> Response:
        status = watchdog.judge()
        if status == "ok" and door.is_closing:
            status = "closing"
        body: dict[str, Any] = {"status": status}
        if is_token(bearer.credentials if bearer else "", token):
            body |= watchdog.list_facts()
        return JSONResponse(body, 200 if status == "ok" else 503)

    @app.get("/metrics", dependencies=guard)
    def metrics() -> Response:
        return Response(meters.write(), media_type=CONTENT_TYPE)


def _add_answers(
    app: FastAPI, backend: Backend, meters: Meters, token: str | None, guard: list[Any]
) -> None:
    CallerHere = Annotated[Caller, Depends(_make_caller_reader(token))]

    async def respond(body: AskBody, asked: Asked) -> Response:
        answer = await LiveAnswer.start(backend, asked, meters)
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return AnswerResponse(answer, stream=body.stream, usage=usage)

    @app.post("/v1/chat/completions", dependencies=guard)
    async def chat(body: ChatBody, caller: CallerHere) -> Response:
        return await respond(body, await asyncio.to_thread(ask_chat, body, backend, caller))

    @app.post("/v1/completions", dependencies=guard)
    async def complete(body: CompletionBody, caller: CallerHere) -> Response:
        return await respond(body, await asyncio.to_thread(ask_completion, body, backend, caller))

    def embed_now(body: EmbeddingBody, caller: Caller, departure: Departure) -> dict[str, Any]:
        model = resolve_model(body.model, backend.list_models())
        texts = tuple(body.list_texts())
        asked = EmbedRequest(model, texts, tenant=caller.tenant, deadline_s=caller.deadline_s)
        vectors = backend.embed(asked, departure)
        body.check(len(vectors[0].vector))
        return shape_embeddings(
            body.model, vectors, body.encoding_format, tells_time=caller.tells_time
        )

    # Long work has threads of its own: /health shall not wait for a free one.
    threads = CapacityLimiter(_MOST_EMBEDS)

    @app.post("/v1/embeddings", dependencies=guard)
    async def embed(request: Request, body: EmbeddingBody, caller: CallerHere) -> dict[str, Any]:
        departure = Departure()

        async def watch_them() -> None:
            await wait_left(request.receive)
            departure.leave()

        watch = asyncio.create_task(watch_them())
        try:
            return await run_sync(embed_now, body, caller, departure, limiter=threads)
        finally:
            watch.cancel()


def _add_tokens(app: FastAPI, backend: Backend, token: str | None, guard: list[Any]) -> None:
    @app.post("/tokenize", dependencies=guard)
    def tokenize(body: TokenizeBody) -> dict[str, Any]:
        ids = backend.tokenize(ask_tokens(body, backend))
        models = {model.name: model for model in backend.list_models()}
        model = models.get(resolve_model(body.model, list(models.values())))
        longest = (model or next(iter(models.values()))).max_context
        return {"tokens": ids, "count": len(ids), "max_model_len": longest}

    @app.post("/detokenize", dependencies=guard)
    def detokenize(body: DetokenizeBody) -> dict[str, str]:
        model = resolve_model(body.model, backend.list_models())
        return {"prompt": backend.detokenize(model, body.tokens)}


def _add_adapters(app: FastAPI, backend: Backend, guard: list[Any]) -> None:
    @app.get("/v1/models", dependencies=guard)
    def list_models() -> dict[str, Any]:
        return shape_models(backend.list_models())

    threads = CapacityLimiter(_MOST_LOADS)  # as for embeddings

    @app.post("/v1/load_lora_adapter", dependencies=guard)
    async def load_adapter(body: LoadBody) -> dict[str, str]:
        await run_sync(backend.load_adapter, body.lora_name, body.lora_path, limiter=threads)
        return {"status": "loaded", "lora_name": body.lora_name}

    @app.post("/v1/unload_lora_adapter", dependencies=guard)
    async def unload_adapter(body: UnloadBody) -> dict[str, str]:
        await run_sync(backend.unload_adapter, body.lora_name, limiter=threads)
        return {"status": "unloaded", "lora_name": body.lora_name}


def _make_guard(token: str | None) -> Any:
    async def check_token(bearer: Bearer) -> None:
        given = bearer.credentials if bearer else ""
        if not is_token(given, token):
            raise HTTPException(401, BAD_TOKEN)

    return check_token


def _make_caller_reader(token: str | None) -> Any:
    """Make what reads who asks: only who holds the token may say for whom."""

    async def read_headers(
        x_athanor_tenant: Annotated[str | None, Header()] = None,
        x_athanor_deadline: Annotated[str | None, Header()] = None,
    ) -> Caller:
        return read_caller(token, x_athanor_tenant, x_athanor_deadline)

    return read_headers


async def _answer_bad_body(request: Request, error: RequestValidationError) -> Response:
    message, param = explain_body(error.errors())
    return JSONResponse(shape_error(message, "invalid_request_error", "bad_request", param), 400)


async def _answer_refusal(request: Request, error: RequestRefused) -> Response:
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, QueueFull) else None
    return JSONResponse(shape_refusal(error), error.status, headers)


async def _answer_engine_error(request: Request, error: EngineError) -> Response:
    body = shape_error(error.message, "invalid_request_error", error.reason.value, "lora_path")
    return JSONResponse(body, 400)


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    kind = "authentication_error" if error.status_code == 401 else "invalid_request_error"
    body = shape_error(str(error.detail), kind, None, None)
    return JSONResponse(body, error.status_code, error.headers)
