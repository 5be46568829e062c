"""How a test comes to a machine's port as a browser does, through the studio. Has no test."""

import socket
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.deploy.machines import MachineStudio

_PATIENCE_S = 60.0
# What Chromium says of a page's own requests.
_OWN_PAGE = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


def get_enter_url(house: MachineStudio, user: str, box: dict[str, Any], port: int) -> str:
    """Return the address that signs a person's browser in at a port's origin, once."""
    answer = house.call(user, "POST", f"/api/machines/{box['key']}/enter/", port=port)
    assert answer.status_code in {200, 201}, answer.text
    return str(answer.json()["url"])


class Caller:
    """A page at the origin of a machine's port: its requests, its cookies and its sockets."""

    def __init__(self, house: MachineStudio, user: str, box: dict[str, Any], port: int) -> None:
        url = httpx.URL(get_enter_url(house, user, box, port))
        self.host = url.netloc.decode()
        self.origin = f"{url.scheme}://{self.host}"
        self._port = house.studio.port
        # The name is the browser's to resolve; here the studio is called and the name is told.
        headers = _OWN_PAGE | {"Host": self.host, "Origin": self.origin}
        self._http = httpx.Client(base_url=house.studio.url, headers=headers, timeout=_PATIENCE_S)
        self._cookies: dict[str, str] = {}
        answer = self.request("GET", url.raw_path.decode())
        assert answer.status_code == 303, answer.text

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request, and keep the cookies of its answer."""
        headers = self._tell_cookies()
        if "_xsrf" in self._cookies:
            headers["X-XSRFToken"] = self._cookies["_xsrf"]
        self._http.cookies.clear()
        answer = self._http.request(method, path, headers=headers, **more)
        for line in answer.headers.get_list("set-cookie"):
            name, value = line.partition(";")[0].split("=", 1)
            self._cookies[name] = value
        return answer

    def visit(self, path: str) -> httpx.Response:
        """Get a page, led on as a browser is."""
        for _ in range(5):
            answer = self.request("GET", path)
            if not answer.is_redirect:
                return answer
            path = httpx.URL(self.origin + path).join(answer.headers["location"]).raw_path.decode()
        raise AssertionError(f"{path} leads round and round")

    def open_socket(self, path: str) -> ClientConnection:
        """Open a WebSocket, as the page would."""
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        told = self._tell_cookies()
        url = f"ws://{self.host}{path}"
        return connect(url, sock=raw, origin=self.origin, additional_headers=told, proxy=None)

    def close(self) -> None:
        self._http.close()

    def _tell_cookies(self) -> dict[str, str]:
        if not self._cookies:
            return {}
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
