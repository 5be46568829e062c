"""A model server for tests: the engine's HTTP protocol, really served, with a script for answers.

It stands where a node's server would. What it was asked, and which readers left, can be read off.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


@dataclass
class FakeServer:
    """What the server knows, does and has seen."""

    token: str
    base: str = "athanor/tiny@abc"
    words: list[str] = field(default_factory=lambda: ["Be", " well", "."])
    holds_after: int | None = None
    """Send so many words and then nothing until the reader leaves; None sends all."""
    dies_after: int | None = None
    """Break off after so many words, without an end."""
    adapters: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    chats: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request for an answer."""
    timing: dict[str, float] | None = None
    """What `usage` says of its time."""
    begun: dict[str, float] | None = None
    """What it tells of a stream's beginning, with the first word."""
    health: int = 200
    num_left: int = 0
    """How many readers went away in mid-answer."""

    def app(self) -> Starlette:
        """Return the ASGI app."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._chat, methods=["POST"]),
                Route("/v1/embeddings", self._embed, methods=["POST"]),
                Route("/health", self._tell_health),
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
            ]
        )

    async def _load(self, request: Request) -> Any:
        body = await request.json()
        await asyncio.sleep(0.05)  # long enough for others to ask meanwhile
        self.loads.append(body["lora_name"])
        if "broken" in body["lora_path"]:
            return JSONResponse(_error("It does not fit.", "bad_model"), 400)
        self.adapters.add(body["lora_name"])
        return JSONResponse({"status": "loaded"})

    async def _tell_health(self, request: Request) -> Any:
        return JSONResponse({"status": "ok", "num_running_now": 2}, self.health)

    async def _embed(self, request: Request) -> Any:
        body = await request.json()
        self.chats.append(body)
        data = [{"object": "embedding", "index": 0, "embedding": [1.0, 0.0]}]
        usage: dict[str, Any] = {"prompt_tokens": 4, "total_tokens": 4}
        usage |= {"timing": self.timing} if self.timing else {}
        return JSONResponse(
            {"object": "list", "model": body["model"], "data": data, "usage": usage}
        )

    def _make_usage(self) -> dict[str, Any]:
        usage: dict[str, Any] = {"prompt_tokens": 7, "completion_tokens": len(self.words)}
        usage["prompt_tokens_details"] = {"cached_tokens": 3}
        return usage | ({"timing": self.timing} if self.timing else {})

    async def _chat(self, request: Request) -> Any:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse(_error("No.", None), 401)
        body = await request.json()
        self.chats.append(body)
        self.headers.append(dict(request.headers))
        if body["model"] not in {self.base, *self.adapters}:
            return JSONResponse(_error("Unknown model.", "model_not_found"), 404)
        if "logit_bias" in body:
            return JSONResponse(_error("logit_bias is not supported.", "bad_request"), 400)
        if body.get("stream"):
            return StreamingResponse(self._stream(body), media_type="text/event-stream")
        if self.holds_after is not None:
            await asyncio.sleep(5)
        message = {"role": "assistant", "content": "".join(self.words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "1", "model": body["model"], "choices": [choice]}
        return JSONResponse(answer | {"usage": self._make_usage()})

    async def _stream(self, body: dict[str, Any]) -> Any:
        try:
            for index, word in enumerate(self.words):
                if index == self.holds_after:
                    await asyncio.sleep(60)
                if index == self.dies_after:
                    return
                begun = {"athanor_begun": self.begun} if self.begun and index == 0 else {}
                yield _event(body, choices=[{"index": 0, "delta": {"content": word}}], **begun)
            yield _event(body, choices=[], usage=self._make_usage())
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.num_left += 1
            raise


def _event(body: dict[str, Any], **fields: Any) -> str:
    return f"data: {json.dumps({'id': '1', 'model': body['model'], **fields})}\n\n"


def _error(message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid", "param": None, "code": code}}
