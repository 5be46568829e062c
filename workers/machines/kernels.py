"""Whether a Jupyter kernel in a machine is busy, asked of its server as a notebook's page does.

What answers is the machine's own and may be anything: little of it is read, and not for long.
"""

import json
from asyncio import timeout as limit_to
from http import HTTPStatus

import httpx

_PATIENCE_S = 3.0
_MOST_BYTES = 512 * 1024
_PLAIN = {"Accept-Encoding": "identity"}  # a small answer shall not unpack to a large one


async def is_kernel_busy(http: httpx.AsyncClient, address: str, port: int) -> bool | None:
    """Say whether a kernel is at work; None where a Jupyter is there and does not say.

    What refuses the connection, or is no Jupyter, has no kernels.
    """
    url = f"http://{address}:{port}/api/kernels"
    body = bytearray()
    try:
        async with limit_to(_PATIENCE_S), http.stream("GET", url, headers=_PLAIN) as answer:
            if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                return None  # somebody has given it a password
            if answer.status_code != HTTPStatus.OK:
                return None if answer.status_code >= 500 else False
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _MOST_BYTES:
                    return None
    except httpx.ConnectError:
        return False
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return None
    return _read(bytes(body))


def _read(body: bytes) -> bool:
    try:
        kernels = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(kernels, list):
        return False
    found = (each for each in kernels if isinstance(each, dict))
    return any(each.get("execution_state") == "busy" for each in found)
