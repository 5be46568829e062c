"""A server whose answers wait for a file, to be asked to stop: python -m ... RELEASE GRACE_S."""

import socket
import sys
import time
from pathlib import Path

import uvicorn

from engine.serve.app import build_app
from engine.serve.door import Door
from engine.serve.run import DrainingServer
from tests.engine.serve.scripted import Scripted


def main(release: Path, grace_s: float) -> None:
    def script(request) -> str:
        release.with_suffix(".begun").touch()
        while not release.exists():
            time.sleep(0.01)
        return "late"

    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    door = Door()
    config = uvicorn.Config(
        build_app(Scripted(script), door=door),
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = DrainingServer(
        config,
        door,
        grace_s=grace_s,
        on_ready=lambda: print(url, flush=True),
        on_stop=lambda: print("closing", flush=True),
    )
    server.run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
