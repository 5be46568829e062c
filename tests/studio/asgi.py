"""The studio's real ASGI application on a real port of this process, for clients that need one.

A test that uses it needs `transactional_db`: the server's threads see only what is committed.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from studio.accounts.models import User
from studio.accounts.services import create_personal_token

ALL = ["read", "write", "chat"]


class _QuietServer(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave signals to pytest."""


@contextmanager
def run_app(app: Any) -> Iterator[str]:
    """Serve an ASGI app until the block ends; yields its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = _QuietServer(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


def make_token(user: User, scopes: list[str] | None = None) -> str:
    """Return an API token of a person."""
    _, raw = create_personal_token(
        user=user, name="test", scopes=scopes or ALL, expires_in_days=None
    )
    return raw
