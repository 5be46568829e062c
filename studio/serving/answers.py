"""A model server's answer on its way to a caller: renamed, relayed, and its use written down."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx
from channels.db import database_sync_to_async

from studio.core.errors import Unavailable
from studio.serving import services
from studio.serving.kept_uses import note_use
from studio.serving.metering import Asked, Measured
from studio.serving.models import Deployment, UseState

_NOTE_USE_EVERY_S = 60.0
_BEGUN = "athanor_begun"  # what a server tells this gateway of an answer's beginning, and no caller


@dataclass(frozen=True)
class Target:
    """A server that is up, and what it calls the wanted model."""

    deployment: Deployment
    name: str
    is_adapter: bool


class Answer:
    """A server's answer under way. Whoever holds it closes it; closing early stops the server."""

    def __init__(
        self, target: Target, response: httpx.Response, asked: Asked, *, tells_usage: bool
    ) -> None:
        """`tells_usage`: the caller asked for the event that says what a stream took."""
        self._target = target
        self._response = response
        self._asked = asked
        self._tells_usage = tells_usage
        self._usage: dict[str, Any] = {}
        self._begun: list[dict[str, Any]] = []
        self._num_pieces = 0
        self._state = UseState.LEFT
        self._is_closed = False

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
            body = self._take(json.loads(await self._response.aread()))
        except (httpx.TransportError, ValueError) as error:
            self._state = UseState.FAILED
            raise gone(self._asked.model) from error
        self._state = UseState.COMPLETE
        return body

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield each event of a stream as it comes, up to but without `[DONE]`.

        Raises:
            Unavailable: the server went away in mid-answer.
        """
        loop = asyncio.get_running_loop()
        noted_at = loop.time()
        try:
            async for line in self._response.aiter_lines():
                data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                if data == "[DONE]":
                    self._state = UseState.COMPLETE
                elif data and self._is_told(event := self._take(json.loads(data))):
                    yield event
                if loop.time() > noted_at + _NOTE_USE_EVERY_S:
                    noted_at = loop.time()
                    await mark_used(self._target.deployment)
        except (httpx.TransportError, ValueError) as error:
            self._state = UseState.FAILED
            raise gone(self._asked.model) from error
        if self._state != UseState.COMPLETE:
            self._state = UseState.FAILED
            raise gone(self._asked.model)

    async def close(self) -> None:
        """Let go of the server and write down what it did; again changes nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._response.aclose()
        finally:
            await database_sync_to_async(note_use)(asked=self._asked, measured=self._measure())

    def _take(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise ValueError("no object")
        if isinstance(usage := body.get("usage"), dict):
            self._usage = usage
        if isinstance(begun := body.pop(_BEGUN, None), dict):
            self._begun.append(begun)
        self._num_pieces += sum(map(_has_text, body.get("choices") or []))
        return {**body, "model": self._asked.model} if "model" in body else body

    def _is_told(self, event: dict[str, Any]) -> bool:
        is_usage = "usage" in event and not event.get("choices") and "error" not in event
        return self._tells_usage or not is_usage

    def _measure(self) -> Measured:
        usage = self._usage or self._sum_begun()
        times = usage.get("timing") if isinstance(usage.get("timing"), dict) else {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        return Measured(
            state=self._state,
            num_prompt_tokens=_count(usage.get("prompt_tokens")),
            num_cached_tokens=_count(cached),
            num_tokens=_count(
                usage.get("completion_tokens", 0 if self._usage else self._num_pieces)
            ),
            queue_ms=_to_ms((times or {}).get("queue_s")) or 0,
            prefill_ms=_to_ms((times or {}).get("prefill_s")),
            decode_ms=_to_ms((times or {}).get("decode_s")),
        )

    def _sum_begun(self) -> dict[str, Any]:
        """Return what a stream that breaks off has said of its beginning, as a usage."""
        if not self._begun:
            return {}
        first, shares = self._begun[0], [begun.get("prefill_s") for begun in self._begun]
        known = [share for share in shares if isinstance(share, int | float)]
        return {
            "prompt_tokens": first.get("prompt_tokens"),
            "prompt_tokens_details": {"cached_tokens": first.get("cached_tokens")},
            "timing": {"queue_s": first.get("queue_s"), "prefill_s": sum(known)},
        }


def gone(model: str) -> Unavailable:
    """Return what a caller is told whose server went away."""
    message = f"The server of {model} does not answer: try again in a moment."
    return Unavailable(message, code="model_unreachable", model=model)


async def mark_used(deployment: Deployment) -> None:
    """Note that a deployment is used."""
    await database_sync_to_async(services.mark_used)(deployment=deployment)


def _has_text(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return False
    delta = choice.get("delta")
    return bool(choice.get("text") or (isinstance(delta, dict) and delta.get("content")))


def _count(number: Any) -> int:
    return max(0, number) if isinstance(number, int) else 0


def _to_ms(seconds: Any) -> int | None:
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
        return None
    return round(seconds * 1000)
