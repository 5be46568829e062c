"""From a model's name to an answer: finds the model, has it served, and carries the stream.

Async throughout, and `database_sync_to_async` closes the connection after each question: a class
that waits for a server, or reads its answers, holds no database connection meanwhile. The `/v1`
views and the playground are its two callers.
"""

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import httpx
from channels.db import database_sync_to_async

from studio.accounts.models import User
from studio.core.errors import StudioError, Unavailable
from studio.serving import services, upstream
from studio.serving.answers import Answer, Target, gone, mark_used
from studio.serving.kept_uses import note_use
from studio.serving.keys import check_key
from studio.serving.metering import Asked, Measured, check_can_pay
from studio.serving.models import ApiKey, Deployment, DeploymentStatus, UseState
from studio.serving.rollouts import choose_commit
from studio.serving.selectors import Wanted, find_model

READY_WITHIN_S = 90.0
_POLL_S = 0.25
_SLOWEST_POLL_S = 1.0
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
        self.body = body if error else {"error": self._shape()}
        self.headers = headers

    def _shape(self) -> dict[str, Any]:
        """Return an error in OpenAI's shape, for a server that broke before it had words."""
        return {"message": self.message, "type": "server_error", "param": None, "code": self.code}


@dataclass(frozen=True)
class Terms:
    """How a request came in, and what for."""

    door: str = "chat/completions"
    """The address below /v1/."""
    api_key: ApiKey | None = None
    deadline_s: float | None = None
    """Seconds after which its caller waits no longer."""


_CHAT = Terms()


async def open_answer(
    user: User,
    body: dict[str, Any],
    *,
    terms: Terms = _CHAT,
    on_start: OnStart | None = None,
) -> Answer:
    """Have the model of a request served, and return the answer that begins.

    `on_start` is called when its server has to be waited for.

    Raises:
        ModelNotServed: there is no such model for this person.
        Forbidden: it is none of the key's models.
        BudgetExhausted: the key, or the person, has nothing left to spend.
        Unavailable: its server is not up in time, or gone; try again.
        UpstreamRefusal: the server refuses the request.
    """
    model = str(body["model"])
    if terms.api_key is not None:
        check_key(terms.api_key, model)
    sender = _Sender(user, terms, on_start, asyncio.get_running_loop().time())
    wanted = await database_sync_to_async(_choose)(user, model)
    target = await _prepare(sender, wanted, model)
    await database_sync_to_async(check_can_pay)(user, target.deployment.pk)
    response = await _send(target, body, model, sender)
    if response.status_code == 404 and target.is_adapter:  # it was restarted, or has unloaded it
        await response.aclose()
        await database_sync_to_async(services.drop_adapter)(
            deployment=target.deployment, name=target.name
        )
        target = await _prepare(sender, wanted, model)
        response = await _send(target, body, model, sender)
    if response.status_code != 200:
        raise await _read_refusal(response, model)
    asked = sender.tell(target, model)
    return Answer(target, response, asked, tells_usage=_wants_usage(body))


@dataclass(frozen=True)
class _Sender:
    user: User
    terms: Terms
    on_start: OnStart | None
    came_at: float

    def tell(self, target: Target, model: str) -> Asked:
        """Return who asks what."""
        return Asked(self.user, model, target.deployment.pk, self.terms.api_key)

    def count_left_s(self) -> float:
        """Return how long it waits yet; for ever without a deadline."""
        if self.terms.deadline_s is None:
            return math.inf
        return self.came_at + self.terms.deadline_s - asyncio.get_running_loop().time()


def _choose(user: User, model: str) -> Wanted:
    wanted = find_model(user, model)
    return replace(wanted, base=choose_commit(user, wanted))


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


async def _prepare(sender: _Sender, wanted: Wanted, model: str) -> Target:
    deployment = await _await_ready(sender, wanted, model)
    if wanted.adapter_ref is None:
        await mark_used(deployment)
        return Target(deployment, deployment.served_name, is_adapter=False)
    await _load_adapter(deployment, wanted.adapter_ref, model)
    await mark_used(deployment)
    return Target(deployment, wanted.adapter_ref, is_adapter=True)


async def _await_ready(sender: _Sender, wanted: Wanted, model: str) -> Deployment:
    ensure = database_sync_to_async(services.ensure_deployment)
    deployment = await ensure(commit=wanted.base, asked_by=sender.user)
    within_s = min(READY_WITHIN_S, sender.count_left_s())
    deadline, poll_s = asyncio.get_running_loop().time() + within_s, _POLL_S
    if deployment.status != DeploymentStatus.READY and sender.on_start:
        sender.on_start()
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
            raise gone(model) from error
        if response.status_code != 200:
            raise await _read_refusal(response, model)
        await database_sync_to_async(services.add_adapter)(deployment=deployment, name=ref)


async def _send(
    target: Target, body: dict[str, Any], model: str, sender: _Sender
) -> httpx.Response:
    token = services.get_server_token(target.deployment.pk)
    sent = {**body, "model": target.name}
    options = body.get("stream_options") or {}
    if body.get("stream") is True and isinstance(options, dict):
        # What it took is written down, whether its reader wants to know or not.
        sent["stream_options"] = {**options, "include_usage": True}
    headers = {"X-Athanor-Tenant": f"user-{sender.user.pk}"}
    if (left_s := sender.count_left_s()) <= 0:
        message = f"The deadline passed before the server of {model} could be asked: wait longer."
        raise Unavailable(message, code="deadline_passed", model=model)
    if left_s < math.inf:
        headers["X-Athanor-Deadline"] = f"{left_s:.3f}"
    address = upstream.Address(target.deployment.url, f"/v1/{sender.terms.door}", token)
    try:
        return await upstream.send(address, sent, headers)
    except httpx.TransportError as error:
        raise gone(model) from error
    except asyncio.CancelledError:  # the caller left while the server worked on a whole answer
        left = Measured(state=UseState.LEFT)
        await database_sync_to_async(note_use)(asked=sender.tell(target, model), measured=left)
        raise


async def _read_refusal(response: httpx.Response, model: str) -> StudioError:
    """Return a server's refusal; its own secrets (a wrong token, a crash) are not the caller's."""
    try:
        body = json.loads(await response.aread())
    except (httpx.TransportError, ValueError):
        body = {}
    finally:
        await response.aclose()
    if response.status_code in {401, 403} or not isinstance(body, dict):
        return gone(model)
    headers = {k: v for k, v in response.headers.items() if k == "retry-after"}
    return UpstreamRefusal(response.status_code, body, headers)
