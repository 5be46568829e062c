"""The studio's four internal doors as a small real HTTP server, with the faults a test asks for.

It keeps the contract of ingest: it stores only what follows, and asks for what it wants.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.live import free_port

FINAL = {"succeeded", "failed", "stopped"}


@dataclass
class StudioDouble:
    """What a node sees of a studio."""

    url: str
    may_start: bool = True
    is_away: bool = False
    refuse: Callable[[list[dict[str, Any]]], int | None] = lambda events: None
    """Answers the HTTP status that a batch shall get, or None to take it."""
    forget: Callable[[], int] = lambda: 0
    """How many stored events it loses before it answers a batch, as a restored backup does."""
    stop: dict[str, str] | None = None
    num_turned_away: int = 0
    claims: list[str] = field(default_factory=list)
    refusals: list[tuple[str, list[str]]] = field(default_factory=list)
    """Runs whose order the node could not read, and the fields that it named."""
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    proofs: dict[str, int] = field(default_factory=dict)
    heartbeats: list[dict[str, Any]] = field(default_factory=list)

    def is_final(self, run_id: str) -> bool:
        events = self.events.get(run_id)
        return bool(events) and events[-1].get("status") in FINAL

    def turn_away(self) -> Response:
        self.num_turned_away += 1
        return Response(status_code=503)

    async def claim(self, request: Request) -> Response:
        if self.is_away:
            return self.turn_away()
        run_id = request.path_params["run_id"]
        self.claims.append(run_id)
        assert request.headers["authorization"] == f"Bearer run_{run_id}"
        return JSONResponse(
            {"start": self.may_start, "reason": "" if self.may_start else "stopped"}
        )

    async def refuse_run(self, request: Request) -> Response:
        if self.is_away:
            return self.turn_away()
        run_id, body = request.path_params["run_id"], json.loads(await request.body())
        assert request.headers["authorization"] == f"Bearer run_{run_id}"
        self.refusals.append((run_id, body["fields"]))
        return JSONResponse({"is_taken": True})

    async def ingest(self, request: Request) -> Response:
        if self.is_away:
            return self.turn_away()
        run_id, body = request.path_params["run_id"], json.loads(await request.body())
        assert request.headers["authorization"] == f"Bearer run_{run_id}"
        if status := self.refuse(body["events"]):
            return JSONResponse({"message": "refused by the test"}, status_code=status)
        stored = self.events.setdefault(run_id, [])
        self.proofs[run_id] = self.proofs.get(run_id, 0) + 1
        seqs = [event["seq"] for event in body["events"]]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
        if fresh := [event for event in body["events"] if event["seq"] >= len(stored)]:
            stored.extend(fresh if fresh[0]["seq"] == len(stored) else [])
        del stored[len(stored) - self.forget() :]
        return JSONResponse({"next_seq": len(stored), "stop": self.stop})

    async def heartbeat(self, request: Request) -> Response:
        if self.is_away:
            return self.turn_away()
        self.heartbeats.append(json.loads(await request.body()))
        return JSONResponse({"name": "test", "broker_queue": "node.test"})


@contextlib.asynccontextmanager
async def serve_double() -> AsyncIterator[StudioDouble]:
    """Serve a double on a free port, in this loop."""
    port = free_port()
    double = StudioDouble(url=f"http://127.0.0.1:{port}")
    routes = [
        Route("/api/internal/runs/{run_id}/claim/", double.claim, methods=["POST"]),
        Route("/api/internal/runs/{run_id}/refuse/", double.refuse_run, methods=["POST"]),
        Route("/api/internal/runs/{run_id}/events/", double.ingest, methods=["POST"]),
        Route("/api/internal/nodes/heartbeat/", double.heartbeat, methods=["POST"]),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), port=port, log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield double
    finally:
        server.should_exit = True
        await task


async def until(what: str, check: Callable[[], Any], *, timeout_s: float = 30.0) -> Any:
    """Poll until `check` answers something true, and return it."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline:
        if answer := check():
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}")
