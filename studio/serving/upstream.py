"""Talks to the model servers on the nodes' network: plain HTTP, streamed, never through a proxy."""

import asyncio
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import httpx

_CONNECT_S = 5.0
_LOAD_S = 180.0  # an adapter is fetched from this hub first
# A request may wait in the server's queue before its first byte.
_ANSWER_S = 600.0
_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Address:
    """Where a request goes, and with which token."""

    url: str
    path: str
    token: str


async def send(address: Address, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    """Send a request and return the answer with its headers read and its body not.

    The caller closes it; closing it early makes the server stop at once.

    Raises:
        httpx.TransportError: the server cannot be reached.
    """
    client = _get_client()
    request = client.build_request(
        "POST",
        f"{address.url}{address.path}",
        json=body,
        headers={"Authorization": f"Bearer {address.token}", **headers},
        timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S, pool=None),
    )
    return await client.send(request, stream=True)


async def load_adapter(url: str, token: str, ref: str) -> httpx.Response:
    """Ask a server to serve an adapter under its own ref; no change where it does.

    Raises:
        httpx.TransportError: the server cannot be reached.
    """
    return await _get_client().post(
        f"{url}/v1/load_lora_adapter",
        json={"lora_name": ref, "lora_path": ref},
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(_LOAD_S, connect=_CONNECT_S, pool=None),
    )


def _get_client() -> httpx.AsyncClient:
    """Return the client of the running loop: connections belong to a loop."""
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        client = httpx.AsyncClient(verify=False, trust_env=False, limits=limits)
        _clients[loop] = client
    return client
