"""A Docker engine that fails at one step: a proxy of its socket, between the node and it.

Docker's API is HTTP/1.1 on a Unix socket; each request gets a connection of its own to the engine.
"""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STEPS = {
    "version": r"GET \S*/version",
    "info": r"GET \S*/info",
    "list": r"GET \S*/containers/json",
    "inspect": r"GET \S*/containers/[0-9a-f]{64}/json",
    "network": r"POST \S*/networks/create",
    "volume": r"POST \S*/volumes/create",
    "create": r"POST \S*/containers/create",
    "start": r"POST \S*/containers/[0-9a-f]{64}/start",
    "stop": r"POST \S*/containers/[0-9a-f]{64}/stop",
    "remove": r"DELETE \S*/containers/[0-9a-f]{64}",
}
SPARE_STEPS = {
    "update": r"POST \S*/containers/[0-9a-f]{64}/update",
    "disconnect": r"POST \S*/networks/[^/ ]+/disconnect",
    "connect": r"POST \S*/networks/[^/ ]+/connect",
    "rename": r"POST \S*/containers/[0-9a-f]{64}/rename",
}
"""Of giving a machine a container that was made before."""
SAVE_STEPS = {"images": r"GET \S*/images/json", "commit": r"POST \S*/commit"}
HOW = ["refuses", "cuts", "answers-half", "does-it-and-cuts", "talks-nonsense", "slow"]
_SLOW_S = 3
_REFUSAL = b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n"


class FaultyEngine:
    """Passes everything on but what `fail` names."""

    def __init__(self, engine: Path, path: Path) -> None:
        self.path, self._engine = path, engine
        self._step, self._how, self.num_left = "", "", 0

    def fail(self, step: str, how: str, times: int) -> None:
        """Fail at this step, this often."""
        every = STEPS | SPARE_STEPS | SAVE_STEPS
        self._step, self._how, self.num_left = every[step], how, times

    def serve(self, client: socket.socket) -> None:
        """Answer one request."""
        with client, suppress(OSError):
            request = _read_request(client)
            if not request:
                return
            is_hit = self.num_left > 0 and re.match(self._step, request.decode("latin-1"))
            if is_hit:
                self.num_left -= 1
            client.sendall(self._answer(request, self._how if is_hit else ""))

    def _answer(self, request: bytes, how: str) -> bytes:
        if how == "refuses":
            return _REFUSAL + b'{"message":"Oops"}'
        if how == "cuts":
            return b""
        if how == "talks-nonsense":
            return b"220 mail.test ESMTP\r\n\r\n"
        if how == "slow":
            time.sleep(_SLOW_S)
        answer = self._ask(request)
        if how == "does-it-and-cuts":
            return b""
        return answer[: len(answer) // 2] if how == "answers-half" else answer

    def _ask(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.connect(str(self._engine))
            opened.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            return b"".join(iter(lambda: opened.recv(65536), b""))


@contextmanager
def run_faulty_engine(engine: Path, path: Path) -> Iterator[FaultyEngine]:
    """Listen at `path` for what goes on to `engine`."""
    faulty = FaultyEngine(engine, path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=faulty.serve, args=[client], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield faulty
        finally:
            server.shutdown(socket.SHUT_RDWR)


def _read_request(client: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said:
        piece = client.recv(65536)
        if not piece:
            return b""
        said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += client.recv(65536)
    return b"\r\n".join(kept) + b"\r\n\r\n" + body
