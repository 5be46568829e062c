"""Answers gRPC beside HTTP: the same backend, bodies, refusals and door; with reflection, health.

A call holds a thread while it is answered; a caller who leaves ends the answer at once.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from engine.errors import EngineError
from engine.serve.asking import (
    Answers,
    Asked,
    ask_chat,
    ask_completion,
    ask_tokens,
    resolve_model,
)
from engine.serve.backend import (
    Backend,
    Departure,
    EmbedRequest,
    QueueFull,
    RequestRefused,
)
from engine.serve.callers import BAD_TOKEN, Caller, is_token, read_caller
from engine.serve.door import Door
from engine.serve.grpc import inference_pb2 as pb
from engine.serve.grpc.bodies import read_chat, read_completion, read_tokenize, write
from engine.serve.openai_shapes import shape_models, validate
from engine.serve.other_shapes import (
    DetokenizeBody,
    EmbeddingBody,
    LoadBody,
    UnloadBody,
    shape_embeddings,
)
from engine.status import Reason

SERVICE = "athanor.v1.Inference"
_MAX_CALLS = 512
_MAX_BYTES = 64 << 20
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Context = Any  # grpc.ServicerContext: the library has no types


class GrpcServer:
    """A server that runs until it is stopped."""

    def __init__(
        self, backend: Backend, *, host: str, port: int, token: str | None, door: Door
    ) -> None:
        """Start on a port; 0 takes a free one.

        Raises:
            EngineError: bad_spec, when the address is taken.
        """
        self._server = grpc.server(
            ThreadPoolExecutor(_MAX_CALLS, thread_name_prefix="grpc"),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _MAX_BYTES)],
        )
        calls = _Calls(backend, token, door)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, calls.list_handlers()),)
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise EngineError(
                Reason.BAD_SPEC, f"{address} cannot be taken for gRPC; choose another port."
            ) from error
        self._server.start()
        for name in ("", SERVICE):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def say_closing(self) -> None:
        """Tell who asks for its health that it goes down."""
        self._health.enter_graceful_shutdown()

    def stop(self, grace_s: float) -> None:
        """Take no more calls, let those under way end, and return when all have or had the time."""
        self._server.stop(grace_s).wait()


class _Calls:
    """The service's methods."""

    def __init__(self, backend: Backend, token: str | None, door: Door) -> None:
        self._backend = backend
        self._token = token
        self._door = door

    def list_handlers(self) -> dict[str, Any]:
        """Return a handler for each method of the service."""
        unary: dict[str, tuple[type[Message], Callable[[Any, Context], Message]]] = {
            "ListModels": (pb.ListModelsRequest, self._list_models),
            "Chat": (pb.ChatRequest, self._chat),
            "Complete": (pb.CompleteRequest, self._complete),
            "Embed": (pb.EmbedRequest, self._embed),
            "Tokenize": (pb.TokenizeRequest, self._tokenize),
            "Detokenize": (pb.DetokenizeRequest, self._detokenize),
            "LoadAdapter": (pb.LoadAdapterRequest, self._load_adapter),
            "UnloadAdapter": (pb.UnloadAdapterRequest, self._unload_adapter),
        }
        streams: dict[str, tuple[type[Message], Callable[[Any, Context], Iterator[Message]]]] = {
            "StreamChat": (pb.ChatRequest, self._stream_chat),
            "StreamComplete": (pb.CompleteRequest, self._stream_complete),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._guard(call), kind.FromString, _to_bytes)
            for name, (kind, call) in unary.items()
        }
        return handlers | {
            name: grpc.unary_stream_rpc_method_handler(
                self._guard_stream(stream), kind.FromString, _to_bytes
            )
            for name, (kind, stream) in streams.items()
        }

    def _guard(self, call: Callable[[Any, Context], Message]) -> Callable[[Any, Context], Message]:
        def answer(request: Any, context: Context) -> Message:
            return next(self._guard_stream(lambda *both: iter([call(*both)]))(request, context))

        return answer

    def _guard_stream(
        self, stream: Callable[[Any, Context], Iterator[Message]]
    ) -> Callable[[Any, Context], Iterator[Message]]:
        def answer(request: Any, context: Context) -> Iterator[Message]:
            bearer = _read_metadata(context).get("authorization", "").removeprefix("Bearer ")
            if not is_token(bearer, self._token):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, BAD_TOKEN)
            try:
                self._door.enter()
            except RequestRefused as refusal:
                _refuse(context, refusal)
            try:
                yield from stream(request, context)
            except RequestRefused as refusal:
                _refuse(context, refusal)
            except EngineError as error:
                _refuse(context, RequestRefused(error.reason.value, error.message))
            finally:
                self._door.leave()

        return answer

    def _list_models(self, request: pb.ListModelsRequest, context: Context) -> Message:
        return write(shape_models(self._backend.list_models()), pb.ListModelsResponse())

    def _chat(self, request: pb.ChatRequest, context: Context) -> Message:
        asked = ask_chat(read_chat(request, stream=False), self._backend, self._caller(context))
        return write(self._answer(asked, context), pb.ChatAnswer())

    def _stream_chat(self, request: pb.ChatRequest, context: Context) -> Iterator[Message]:
        asked = ask_chat(read_chat(request, stream=True), self._backend, self._caller(context))
        for event in self._stream(asked, context):
            yield write(event, pb.ChatChunk())

    def _complete(self, request: pb.CompleteRequest, context: Context) -> Message:
        body = read_completion(request, stream=False)
        asked = ask_completion(body, self._backend, self._caller(context))
        return write(self._answer(asked, context), pb.CompleteAnswer())

    def _stream_complete(self, request: pb.CompleteRequest, context: Context) -> Iterator[Message]:
        body = read_completion(request, stream=True)
        asked = ask_completion(body, self._backend, self._caller(context))
        for event in self._stream(asked, context):
            yield write(event, pb.CompleteAnswer())

    def _embed(self, request: pb.EmbedRequest, context: Context) -> Message:
        body = validate(EmbeddingBody, {"model": request.model, "input": list(request.input)})
        texts = tuple(body.list_texts())
        caller = self._caller(context)
        asked = EmbedRequest(self._resolve(body.model), texts, caller.tenant, caller.deadline_s)
        departure = Departure()
        context.add_callback(departure.leave)
        vectors = self._backend.embed(asked, departure)
        return write(shape_embeddings(body.model, vectors, "float"), pb.EmbedAnswer())

    def _tokenize(self, request: pb.TokenizeRequest, context: Context) -> Message:
        prompt = ask_tokens(read_tokenize(request), self._backend)
        return pb.TokenizeAnswer(tokens=self._backend.tokenize(prompt))

    def _detokenize(self, request: pb.DetokenizeRequest, context: Context) -> Message:
        given = {"model": request.model, "tokens": list(request.tokens)}
        body = validate(DetokenizeBody, given)
        text = self._backend.detokenize(self._resolve(body.model), body.tokens)
        return pb.DetokenizeAnswer(prompt=text)

    def _load_adapter(self, request: pb.LoadAdapterRequest, context: Context) -> Message:
        given = {"lora_name": request.lora_name, "lora_path": request.lora_path}
        body = validate(LoadBody, given)
        self._backend.load_adapter(body.lora_name, body.lora_path)
        return pb.LoadAdapterAnswer()

    def _unload_adapter(self, request: pb.UnloadAdapterRequest, context: Context) -> Message:
        body = validate(UnloadBody, {"lora_name": request.lora_name})
        self._backend.unload_adapter(body.lora_name)
        return pb.UnloadAdapterAnswer()

    def _answer(self, asked: Asked, context: Context) -> dict[str, Any]:
        for index, piece in self._begin(asked, context):
            asked.shape.push(index, piece)
        return asked.shape.whole()

    def _stream(self, asked: Asked, context: Context) -> Iterator[dict[str, Any]]:
        answers = self._begin(asked, context)
        for index in range(asked.shape.num_choices):
            yield from asked.shape.open(index)
        for index, piece in answers:
            yield from asked.shape.push(index, piece)
        yield asked.shape.usage_event()

    def _begin(self, asked: Asked, context: Context) -> Answers:
        answers = Answers(self._backend, asked)
        if not context.add_callback(answers.abort):  # the caller has left already
            answers.abort()
        return answers

    def _caller(self, context: Context) -> Caller:
        words = _read_metadata(context)
        told = read_caller(
            self._token, words.get("x-athanor-tenant"), words.get("x-athanor-deadline")
        )
        left_s = context.time_remaining()
        if told.deadline_s is None and left_s is not None and 0 < left_s < _LONGEST_S:
            return Caller(told.tenant, left_s, told.tells_time)
        return told

    def _resolve(self, model: str) -> str:
        return resolve_model(model, self._backend.list_models())


_LONGEST_S = 86_400.0  # a call without a deadline has one of centuries


def _read_metadata(context: Context) -> dict[str, str]:
    return {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}


def _refuse(context: Context, refusal: RequestRefused) -> None:
    trailing = [("athanor-code", refusal.code)]
    if refusal.field:
        trailing.append(("athanor-param", refusal.field))
    if isinstance(refusal, QueueFull):
        trailing.append(("retry-after", str(refusal.retry_after_s)))
    context.set_trailing_metadata(tuple(trailing))
    context.abort(_CODES.get(refusal.status, grpc.StatusCode.UNKNOWN), refusal.message)


def _to_bytes(message: Message) -> bytes:
    return message.SerializeToString()
