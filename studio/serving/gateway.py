"""From a model's name to an answer: finds the model, has it served, and carries the stream.

Async throughout, and `database_sync_to_async` closes the connection after each question: a class
that waits for a server, or reads its answers, holds no database connection meanwhile. The `/v1`
views and the playground are its two callers.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import httpx
from channels.db import database_sync_to_async

from studio.accounts.models import User
from studio.core.errors import StudioError, Unavailable
from studio.serving import services, upstream
from studio.serving.models import Deployment, DeploymentStatus
from studio.serving.selectors import Wanted, find_model

READY_WITHIN_S = 90.0
_POLL_S = 0.25
_SLOWEST_POLL_S = 1.0
_NOTE_USE_EVERY_S = 60.0
OnStart = Callable[[], None]
_locks: "WeakValueDictionary[tuple[object, ...], asyncio.Lock]" = WeakValueDictionary()


class UpstreamRefusal(StudioError):
    """The model's server said no; its own body and status are passed on."""

    code = "upstream_refused"

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Keep the server's words."""
        error = body.get("error") if isinstance(body.get("error"), dict) else {}
        message = str((error or {}).get("message") or f"The model server answered {status}.")
        super().__init__(message, code=str((error or {}).get("code") or self.code))
        self.status = status
        self.body = body
        self.headers = headers


@dataclass(frozen=True)
class Target:
    """A server that is up, and what it calls the wanted model."""

    deployment: Deployment
    name: str
    is_adapter: bool


class Answer:
    """A server's answer under way. Whoever holds it closes it; closing early stops the server."""

    def __init__(self, target: Target, response: httpx.Response, model: str) -> None:
        self._target = target
        self._response = response
        self._model = model

    @property
    def is_stream(self) -> bool:
        """Say whether it comes as server-sent events."""
        return self._response.headers.get("content-type", "").startswith("text/event-stream")

    async def whole(self) -> dict[str, Any]:
        """Return the body of an answer that is not streamed.

        Raises:
            Unavailable: the server went away.
        """
        try:
            body = json.loads(await self._response.aread())
        except (httpx.TransportError, ValueError) as error:
            raise _gone(self._model) from error
        return self._rename(body)

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield each event of a stream as it comes, up to but without `[DONE]`.

        Raises:
            Unavailable: the server went away in mid-answer.
        """
        loop = asyncio.get_running_loop()
        noted_at, is_done = loop.time(), False
        try:
            async for line in self._response.aiter_lines():
                data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                if data == "[DONE]":
                    is_done = True
                elif data:
                    yield self._rename(json.loads(data))
                if loop.time() > noted_at + _NOTE_USE_EVERY_S:
                    noted_at = loop.time()
                    await _mark_used(self._target.deployment)
        except (httpx.TransportError, ValueError) as error:
            raise _gone(self._model) from error
        if not is_done:
            raise _gone(self._model)

    async def close(self) -> None:
        """Let go of the server."""
        await self._response.aclose()

    def _rename(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise ValueError("no object")
        return {**body, "model": self._model} if "model" in body else body


async def open_answer(
    user: User, body: dict[str, Any], *, on_start: OnStart | None = None
) -> Answer:
    """Have the model of a chat request served, and return the answer that begins.

    `on_start` is called when its server has to be waited for.

    Raises:
        ModelNotServed: there is no such model for this person.
        Unavailable: its server is not up in time, or gone; try again.
        UpstreamRefusal: the server refuses the request.
    """
    model = str(body["model"])
    wanted = await database_sync_to_async(find_model)(user, model)
    target = await _prepare(user, wanted, model, on_start)
    response = await _send(target, body, model)
    if response.status_code == 404 and target.is_adapter:  # it was restarted, or has unloaded it
        await response.aclose()
        await database_sync_to_async(services.drop_adapter)(
            deployment=target.deployment, name=target.name
        )
        target = await _prepare(user, wanted, model, on_start)
        response = await _send(target, body, model)
    if response.status_code != 200:
        raise await _read_refusal(response, model)
    return Answer(target, response, model)


async def _prepare(user: User, wanted: Wanted, model: str, on_start: OnStart | None) -> Target:
    deployment = await _await_ready(user, wanted, model, on_start)
    if wanted.adapter_ref is None:
        await _mark_used(deployment)
        return Target(deployment, deployment.served_name, is_adapter=False)
    await _load_adapter(deployment, wanted.adapter_ref, model)
    await _mark_used(deployment)
    return Target(deployment, wanted.adapter_ref, is_adapter=True)


async def _await_ready(
    user: User, wanted: Wanted, model: str, on_start: OnStart | None
) -> Deployment:
    ensure = database_sync_to_async(services.ensure_deployment)
    deployment = await ensure(commit=wanted.base, asked_by=user)
    deadline, poll_s = asyncio.get_running_loop().time() + READY_WITHIN_S, _POLL_S
    if deployment.status != DeploymentStatus.READY and on_start:
        on_start()
    while deployment.status != DeploymentStatus.READY:
        if deployment.status != DeploymentStatus.STARTING:
            said = deployment.message or "its log says why"
            message = f"{model} could not be served: {said}"
            raise Unavailable(message, code="deployment_failed", model=model)
        if asyncio.get_running_loop().time() > deadline:
            message = f"{model} is still starting: try again in a moment."
            raise Unavailable(message, code="model_starting", model=model)
        await asyncio.sleep(poll_s)
        poll_s = min(1.2 * poll_s, _SLOWEST_POLL_S)
        deployment = await database_sync_to_async(Deployment.objects.get)(pk=deployment.pk)
    return deployment


async def _load_adapter(deployment: Deployment, ref: str, model: str) -> None:
    """Have the server load an adapter, once however many ask at the same time."""
    if ref in deployment.adapters:
        return
    key = (asyncio.get_running_loop(), deployment.pk)
    lock = _locks.setdefault(key, asyncio.Lock())
    async with lock:
        fresh = await database_sync_to_async(Deployment.objects.get)(pk=deployment.pk)
        if ref in fresh.adapters:
            return
        token = services.get_server_token(deployment.pk)
        try:
            response = await upstream.load_adapter(deployment.url, token, ref)
        except httpx.TransportError as error:
            raise _gone(model) from error
        if response.status_code != 200:
            raise await _read_refusal(response, model)
        await database_sync_to_async(services.add_adapter)(deployment=deployment, name=ref)


async def _send(target: Target, body: dict[str, Any], model: str) -> httpx.Response:
    token = services.get_server_token(target.deployment.pk)
    try:
        return await upstream.send_chat(
            target.deployment.url, token, {**body, "model": target.name}
        )
    except httpx.TransportError as error:
        raise _gone(model) from error


async def _read_refusal(response: httpx.Response, model: str) -> StudioError:
    """Return a server's refusal; its own secrets (a wrong token, a crash) are not the caller's."""
    try:
        body = json.loads(await response.aread())
    except (httpx.TransportError, ValueError):
        body = {}
    finally:
        await response.aclose()
    if response.status_code in {401, 403} or not isinstance(body, dict):
        return _gone(model)
    headers = {k: v for k, v in response.headers.items() if k == "retry-after"}
    return UpstreamRefusal(response.status_code, body, headers)


async def _mark_used(deployment: Deployment) -> None:
    await database_sync_to_async(services.mark_used)(deployment=deployment)


def _gone(model: str) -> Unavailable:
    message = f"The server of {model} does not answer: try again in a moment."
    return Unavailable(message, code="model_unreachable", model=model)
