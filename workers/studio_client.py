"""The six doors of the studio that a node knows, and what can be made of its answers."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.errors import StudioAway, StudioRefused
from workers.machines.orders import MachineAnswer
from workers.orders import ShareOrder
from workers.run_dir import StopWish

_TIMEOUT = httpx.Timeout(10.0, connect=3.0)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ClaimAnswer(_Answer):
    """Whether the run may start here and now."""

    start: bool
    reason: str = ""


class EventsAnswer(_Answer):
    """What the studio wants next, and whether the run shall end."""

    next_seq: int = Field(ge=0)
    stop: StopWish | None = None


class ShareAnswer(_Answer):
    """What /share shall hold."""

    share: list[ShareOrder]


class HeartbeatAnswer(_Answer):
    """Which node the token belongs to."""

    name: str


_A = TypeVar("_A", bound=BaseModel)


class StudioClient:
    """One pool of connections to the studio, for one asyncio loop."""

    def __init__(self, url: str) -> None:
        """Take the studio's address; a proxy is never asked about this very machine."""
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            trust_env=urlsplit(url).hostname not in _LOOPBACK,
        )

    async def __aenter__(self) -> Self:
        """Open the pool."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the pool."""
        await self._http.aclose()

    async def claim_run(self, run_id: str, token: str) -> ClaimAnswer:
        """Ask whether this run may start here.

        Raises:
            StudioAway, StudioRefused: as they say; so do the methods below.
        """
        return await self._post(ClaimAnswer, f"/api/internal/runs/{run_id}/claim/", token, b"{}")

    async def refuse_run(self, run_id: str, token: str, fields: Sequence[str]) -> None:
        """Say that this node cannot read the run's order, and which fields of it."""
        body = json.dumps({"fields": list(fields)}).encode()
        await self._post(_Answer, f"/api/internal/runs/{run_id}/refuse/", token, body)

    async def post_events(self, run_id: str, token: str, body: bytes) -> EventsAnswer:
        """Hand over a batch, `{"now", "alive", "events"}` as JSON."""
        return await self._post(EventsAnswer, f"/api/internal/runs/{run_id}/events/", token, body)

    async def send_heartbeat(self, token: str, body: bytes) -> HeartbeatAnswer:
        """Say that the node lives, and what it has."""
        return await self._post(HeartbeatAnswer, "/api/internal/nodes/heartbeat/", token, body)

    async def report_share(self, token: str, body: bytes) -> ShareAnswer:
        """Say how far /share is, a `ShareReport` as JSON."""
        return await self._post(ShareAnswer, "/api/internal/nodes/share/", token, body)

    async def report_machines(self, token: str, body: bytes) -> MachineAnswer:
        """Say how the dev machines are, a `MachineReport` as JSON."""
        return await self._post(MachineAnswer, "/api/internal/nodes/machines/", token, body)

    async def _post(self, shape: type[_A], path: str, token: str, body: bytes) -> _A:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            response = await self._http.post(path, content=body, headers=headers)
        except httpx.TransportError as error:
            raise StudioAway(
                f"the studio does not answer: {type(error).__name__} {error}"
            ) from error
        if response.status_code >= 500 or response.status_code in (408, 429):
            raise StudioAway(f"the studio answered {response.status_code}")
        if not response.is_success:
            raise StudioRefused(response.status_code, _read_message(response))
        try:
            return shape.model_validate_json(response.content)
        except ValidationError as error:  # a proxy's page, or a studio of another age
            raise StudioAway(f"the studio's answer makes no sense: {error}") from error


def _read_message(response: httpx.Response) -> str:
    try:
        value: Any = response.json()
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        return str(value["message"])[:500]
    return response.text[:200]
