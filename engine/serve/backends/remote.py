"""Answers by asking another server that speaks OpenAI's HTTP: vLLM, SGLang, LMDeploy or another.

What the other side cannot do, it refuses; its sentence is passed on. Tool calls come back in
OpenAI's shape and are written as Hermes' text, which the doors read as they read any model's.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.serve.backend import (
    BackendFacts,
    ChatRequest,
    Departure,
    Embedding,
    EmbedFailed,
    EmbedRequest,
    ModelUnknown,
    OnPiece,
    Piece,
    RequestRefused,
    ServedModel,
    TextRequest,
)
from engine.serve.backends.answer import RemoteAnswer
from engine.serve.backends.hang_up import LEFT, PASSED, HangUp
from engine.serve.backends.line import Place, WaitingLine
from engine.serve.backends.words import (
    check_answer,
    make_unreachable,
    word_error,
    write_body,
    write_turns,
)
from engine.specs import Placement, ServeSpec
from engine.status import Reason
from engine.version import read_version

_TEMPLATE = "<tool_call>"  # what tells Hermes' format, in which calls are written here
_CONNECT_S = 5.0
_ANSWER_S = 600.0  # between two pieces: the other side may have a queue
_MODELS_FOR_S = 5.0
_HEALTH_FOR_S = 2.0


def open_remote(spec: ServeSpec, placement: Placement, emitter: Emitter) -> "RemoteBackend":
    """Return a backend that asks `spec.url`, once that has answered.

    Raises:
        EngineError: it does not answer, or has no such model.
    """
    assert spec.url
    known = placement.remote_urls
    if known is not None and spec.url.rstrip("/") not in {one.rstrip("/") for one in known}:
        raise EngineError(
            Reason.BAD_SPEC,
            f"url: this node asks no server at {spec.url}; ask its administrator to add it to "
            "ATHANOR_MODEL_SERVERS.",
        )
    emitter.progress("load", 0, 1, unit="model")
    backend = open_url(
        spec.url,
        spec.model,
        placement.remote_token,
        spec.adapters,
        max_context=spec.max_context,
        line=WaitingLine(spec.max_waiting, spec.max_waiting_of_tenant),
    )
    emitter.progress("load", 1, 1, unit="model")
    return backend


def open_url(
    url: str,
    name: str,
    token: str | None,
    adapters: Sequence[str] = (),
    *,
    max_context: int,
    line: WaitingLine | None = None,
) -> "RemoteBackend":
    """Return a backend that asks an address that ends in /v1, once that has answered.

    `line` bounds who may wait there; None lets all.

    Raises:
        EngineError: it does not answer, or has no such model.
    """
    try:
        client = make_client(url, token)
    except (httpx.InvalidURL, ValueError) as error:
        raise EngineError(Reason.BAD_SPEC, f"url: {url} is no address: {error}.") from error
    backend = RemoteBackend(client, name, adapters, max_context=max_context, line=line)
    try:
        backend.find_base()
        for ref in adapters:
            backend.load_adapter(ref, ref)
    except (RequestRefused, httpx.HTTPError, ValueError, KeyError) as error:
        backend.close()
        raise EngineError(Reason.BAD_SPEC, f"url: {url}: {word_error(error)}") from error
    return backend


def make_client(url: str, token: str | None) -> httpx.Client:
    """Return a client of an address that ends in /v1."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        base_url=url.rstrip("/"),
        headers=headers,
        timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
        trust_env=False,
    )


class RemoteBackend:
    """Implements `engine.serve.backend.Backend`."""

    def __init__(
        self,
        client: httpx.Client,
        name: str,
        adapters: Sequence[str] = (),
        *,
        max_context: int,
        engine: str = "remote",
        line: WaitingLine | None = None,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Takes `client` over. `name` is the base's here, and there if it has one of that name;
        empty takes the name from there.

        `max_context` holds where the other side does not tell. `is_alive` is asked before it is.
        """
        self._client = client
        self._lone_client = _copy_client(client)
        self._line = line or WaitingLine()
        self._name = name
        self._adapters = adapters
        self._max_context = max_context
        self._engine = engine
        self._is_alive = is_alive
        self._root = str(client.base_url).rstrip("/").removesuffix("/v1")
        self._lock = threading.Lock()  # guards all below
        self._ended = threading.Condition(self._lock)
        self._base_there = ""  # the base's name on the other side
        self._models: list[ServedModel] = []
        self._models_until = 0.0
        self._health = (0.0, True)
        self._counts: Counter[str] = Counter()

    def find_base(self) -> None:
        """Ask which of its models is the base: the one of that name, or the only one.

        Raises:
            RequestRefused: it has several others.
        """
        models = self._fetch_models()
        names = [model["id"] for model in models if not model.get("parent")]
        if self._name not in names and len(names) != 1:
            raise RequestRefused(
                "model_not_found",
                f"model: {self._name} is none of its models: {', '.join(names)}.",
                field="model",
            )
        self._base_there = self._name if self._name in names else names[0]
        self._name = self._name or self._base_there
        self._keep_models(models)

    def list_models(self) -> list[ServedModel]:
        """Return the base and its adapters, as the other side had them some seconds ago."""
        with self._lock:
            if time.monotonic() < self._models_until:
                return list(self._models)
        with contextlib.suppress(httpx.HTTPError, RequestRefused):
            self._keep_models(self._fetch_models())
        with self._lock:
            return list(self._models)

    def submit(self, request: ChatRequest | TextRequest, on_piece: OnPiece) -> RemoteAnswer:
        """Ask the other side, and return when it takes the request; see `Backend.submit`."""
        body = self._write_body(request) | {"model": self._name_there(request.model)}
        place = self._line.enter(request.tenant)
        hang_up = HangUp()
        hang_up.hang_up_after(request.deadline_s, PASSED)
        try:
            response = self._send(request, body, hang_up)
        except BaseException:
            hang_up.end()
            place.leave()
            raise
        return self._start_answer(request, response, on_piece, hang_up, place)

    def embed(self, request: EmbedRequest, departure: Departure | None = None) -> list[Embedding]:
        """Return a vector for each text; see `Backend.embed`."""
        texts = [text if isinstance(text, str) else list(text) for text in request.texts]
        body = {"model": self._name_there(request.model), "input": texts}
        place = self._line.enter(request.tenant)
        hang_up = HangUp()
        hang_up.hang_up_after(request.deadline_s, PASSED)
        (departure or Departure()).then(lambda: hang_up.hang_up(LEFT))
        try:
            # On a connection of its own, whose line is known before an answer begins.
            answer = self._post(
                "/embeddings", body | {"encoding_format": "float"}, self._lone_client, hang_up
            )
        finally:
            hang_up.end()
            place.leave()
        data = sorted(answer["data"], key=lambda one: one["index"])
        share = answer.get("usage", {}).get("prompt_tokens", 0) // max(1, len(data))
        return [Embedding(tuple(one["embedding"]), share) for one in data]

    def tokenize(self, request: ChatRequest | TextRequest) -> list[int]:
        """Ask for token ids, where the other side can say; see `Backend.tokenize`."""
        body: dict[str, Any] = {"model": self._name_there(request.model)}
        if isinstance(request, ChatRequest):
            body |= {"messages": write_turns(request)}
        elif isinstance(request.prompt, tuple):
            return list(request.prompt)
        else:
            body |= {"prompt": request.prompt}
        return list(self._post(f"{self._root}/tokenize", body)["tokens"])

    def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """Ask for a text, where the other side can say; see `Backend.detokenize`."""
        body = {"model": self._name_there(model), "tokens": list(token_ids)}
        return str(self._post(f"{self._root}/detokenize", body)["prompt"])

    def describe(self) -> BackendFacts:
        """Say where it asks, and what was counted on this side."""
        num_waiting = self._line.count()
        with self._lock:
            counts = Counter(self._counts)
        return BackendFacts(
            engine=f"{self._engine}/{read_version()}",
            device="remote",
            quantization="unknown",
            chat_template=_TEMPLATE,
            num_running_now=max(0, counts["running"] - num_waiting),
            num_waiting_now=num_waiting,
            num_prompt_tokens=counts["prompt_tokens"],
            num_cached_tokens=counts["cached_tokens"],
            num_tokens=counts["tokens"],
            num_finished=counts["finished"],
            num_failed=counts["failed"],
        )

    def load_adapter(self, name: str, ref: str) -> None:
        """Ask the other side to load an adapter; see `Backend.load_adapter`."""
        if name in {model.name for model in self.list_models()}:
            return
        self._post("/load_lora_adapter", {"lora_name": name, "lora_path": ref})
        self._forget_models()

    def unload_adapter(self, name: str) -> None:
        """Ask the other side to unload an adapter; see `Backend.unload_adapter`."""
        self._post("/unload_lora_adapter", {"lora_name": name})
        self._forget_models()

    def is_healthy(self) -> bool:
        """Say whether the other side answered, some seconds ago at most."""
        with self._lock:
            until, was_healthy = self._health
        if time.monotonic() < until:
            return was_healthy and self._is_alive()
        is_healthy = self._is_alive()
        try:
            is_healthy = is_healthy and self._client.get("/models", timeout=_CONNECT_S).is_success
        except httpx.HTTPError:
            is_healthy = False
        with self._lock:
            self._health = (time.monotonic() + _HEALTH_FOR_S, is_healthy)
        return is_healthy

    def close(self, drain_s: float = 0.0) -> None:
        """Wait up to `drain_s` for what is under way, then close all connections."""
        with self._ended:
            self._ended.wait_for(lambda: not self._counts["running"], drain_s)
        self._client.close()
        self._lone_client.close()

    def _write_body(self, request: ChatRequest | TextRequest) -> dict[str, Any]:
        return write_body(request)

    def _list_stops(self, request: ChatRequest | TextRequest) -> Sequence[str]:
        """Return the stop texts that are looked for here."""
        return ()

    def _send(
        self, request: ChatRequest | TextRequest, body: dict[str, Any], hang_up: HangUp
    ) -> httpx.Response:
        """Return a response whose stream is to be read."""
        path = "/chat/completions" if isinstance(request, ChatRequest) else "/completions"
        most_s = min(request.deadline_s or _ANSWER_S, _ANSWER_S)
        timeout = httpx.Timeout(_ANSWER_S, read=most_s, connect=min(_CONNECT_S, most_s), pool=None)
        try:
            sent = self._client.build_request("POST", path, json=body, timeout=timeout)
            response = self._client.send(sent, stream=True)
            if response.status_code != 200:
                response.read()
                check_answer(response)
        except httpx.HTTPError as error:
            if hang_up.why is not None or _is_late(error, request.deadline_s):
                raise _make_late() from error
            raise make_unreachable(error) from error
        return response

    def _start_answer(
        self,
        request: ChatRequest | TextRequest,
        response: httpx.Response,
        on_piece: OnPiece,
        hang_up: HangUp,
        place: Place,
    ) -> RemoteAnswer:
        def pass_on(piece: Piece) -> None:
            place.leave()
            on_piece(piece)

        answer = RemoteAnswer(
            response, pass_on, self._note_end, hang_up=hang_up, stops=self._list_stops(request)
        )
        with self._lock:
            self._counts["running"] += 1
        answer.start()
        return answer

    def _name_there(self, name: str) -> str:
        models = {model.name: model for model in self.list_models()}
        if name not in models:
            raise ModelUnknown(name)
        return self._base_there if models[name].base is None else name

    def _fetch_models(self) -> list[dict[str, Any]]:
        response = self._client.get("/models", timeout=_CONNECT_S)
        check_answer(response)
        return list(response.json()["data"])

    def _keep_models(self, models: list[dict[str, Any]]) -> None:
        longest = self._max_context
        by_name = {model["id"]: model for model in models}
        base = by_name.get(self._base_there, {})
        served = [ServedModel(self._name, None, base.get("max_model_len") or longest)]
        for name, model in sorted(by_name.items()):
            if model.get("parent") or name in self._adapters:
                length = model.get("max_model_len") or longest
                served.append(ServedModel(name, self._name, length))
        with self._lock:
            self._models = served
            self._models_until = time.monotonic() + _MODELS_FOR_S

    def _forget_models(self) -> None:
        with self._lock:
            self._models_until = 0.0

    def _post(
        self,
        path: str,
        body: dict[str, Any],
        client: httpx.Client | None = None,
        hang_up: HangUp | None = None,
    ) -> dict[str, Any]:
        extensions = {"trace": hang_up.trace} if hang_up else None
        try:
            response = (client or self._client).post(path, json=body, extensions=extensions)
        except httpx.HTTPError as error:
            if hang_up is not None and hang_up.why is not None:
                raise EmbedFailed("aborted", hang_up.why) from error
            raise make_unreachable(error) from error
        check_answer(response)
        try:
            answer = response.json()
        except ValueError:  # vLLM answers some with a sentence
            return {}
        return answer if isinstance(answer, dict) else {}

    def _note_end(self, piece: Piece) -> None:
        with self._lock:
            self._counts["running"] -= 1
            self._ended.notify_all()
            self._counts["failed" if piece.finish == "error" else "finished"] += 1
            self._counts["tokens"] += piece.num_tokens
            if piece.usage:
                self._counts["prompt_tokens"] += piece.usage.num_prompt_tokens
                self._counts["cached_tokens"] += piece.usage.num_cached_tokens


def _copy_client(client: httpx.Client) -> httpx.Client:
    """Return a client of the same address that makes a connection for each request."""
    return httpx.Client(
        base_url=client.base_url,
        headers=client.headers,
        timeout=client.timeout,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        trust_env=False,
    )


def _is_late(error: httpx.HTTPError, deadline_s: float | None) -> bool:
    return deadline_s is not None and isinstance(error, httpx.TimeoutException)


def _make_late() -> RequestRefused:
    refusal = RequestRefused("aborted", PASSED)
    refusal.status = 503
    return refusal
