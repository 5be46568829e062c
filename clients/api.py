"""A studio's public API as plain calls. It knows no more than the OpenAPI schema tells anybody."""

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

_CONNECT_RETRY_S = 30.0
Json = dict[str, Any]


class ApiRefusal(RuntimeError):
    """The studio said no; the message is its own sentence."""

    def __init__(self, status: int, body: Any) -> None:
        error = body.get("error", body) if isinstance(body, dict) else {}
        self.status = status
        self.code = str(error.get("code", ""))
        self.body = error
        super().__init__(str(error.get("message") or f"HTTP {status}"))


class StudioApi:
    """One person's view of a studio, by API token.

    `retry_s` is for how long a GET asks again where nobody answers, as while a studio restarts.
    """

    def __init__(self, url: str, token: str, *, retry_s: float = _CONNECT_RETRY_S) -> None:
        self._retry_s = retry_s
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def get(self, path: str, **params: Any) -> Any:
        """Return the answer to a GET; a studio that restarts is asked again for a while."""
        deadline = time.monotonic() + self._retry_s
        while True:
            try:
                return _read(self._http.get(path, params=params))
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def post(self, path: str, body: Json, *, once: bool = False) -> Any:
        """Return the answer to a POST. `once` adds an idempotency key."""
        headers = {"Idempotency-Key": secrets.token_hex(16)} if once else {}
        return _read(self._http.post(path, json=body, headers=headers))

    def put(self, path: str, body: Json) -> Any:
        """Return the answer to a PUT."""
        return _read(self._http.put(path, json=body))

    def patch(self, path: str, body: Json) -> Any:
        """Return the answer to a PATCH."""
        return _read(self._http.patch(path, json=body))

    def delete(self, path: str) -> None:
        """Have something removed."""
        _read(self._http.delete(path))

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a download as they come."""
        with self._http.stream("GET", path) as response:
            if response.is_error:
                response.read()
                _read(response)
            yield from response.iter_bytes()

    def list_all(self, path: str, **params: Any) -> Iterator[Json]:
        """Yield every result of a paged list."""
        seen, page = 0, 1
        while True:
            answer = self.get(path, page=page, **params)
            yield from answer["results"]
            seen += len(answer["results"])
            if seen >= answer["count"] or not answer["results"]:
                return
            page += 1

    def chat(
        self, model: str, prompt: str, *, patience_s: float, on_wait: Callable[[str], None]
    ) -> str:
        """Return one greedy answer of a model, waiting while its server starts."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 64,
        }
        deadline = time.monotonic() + patience_s
        while True:
            try:
                answer = _read(self._http.post("/v1/chat/completions", json=body, timeout=180))
                return str(answer["choices"][0]["message"]["content"]).strip()
            except ApiRefusal as refusal:
                if refusal.status not in {429, 503} or time.monotonic() > deadline:
                    raise
                on_wait(str(refusal))
                time.sleep(1)


def _read(response: httpx.Response) -> Any:
    where = f"{response.request.url.scheme}://{response.request.url.netloc.decode()}"
    if response.is_redirect:
        to = response.headers.get("location", "elsewhere")
        raise _make_refusal(response, f"{where} sends us on to {to}: log in at that address.")
    if response.is_success and not response.content:
        return {}
    try:
        body = response.json()
    except ValueError:
        amiss = f"{where} answers {response.status_code}, and not as a studio does: is it one?"
        raise _make_refusal(response, amiss) from None
    if response.is_error:
        raise ApiRefusal(response.status_code, body)
    return body


def _make_refusal(response: httpx.Response, message: str) -> ApiRefusal:
    return ApiRefusal(response.status_code, {"message": message})
