"""A serve run: opens the backend, binds the port, says where it is, and answers until stopped."""

import socket
from collections.abc import Callable

import uvicorn

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.serve.app import build_app
from engine.serve.native import open_native
from engine.specs import Placement, ServeSpec
from engine.status import Reason
from engine.stopping import StopGate

_GRACE_S = 1  # a stop must be final within 5 s; a reader in mid-answer gets one of them


def serve(spec: ServeSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Serve until the gate's signal comes.

    uvicorn takes the signals over while it runs and raises them again once it is down, which is
    when the gate hears them.

    Raises:
        EngineError: a model cannot be used, or the address is taken.
        StopRequested: the server was asked to stop, and is down.
    """
    listener = _bind(placement.host, placement.port)
    backend = open_native(spec, placement, emitter)
    try:
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            build_app(backend, token=placement.server_token),
            log_level="info",
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
            lifespan="off",
        )
        names = [model.name for model in backend.list_models()]
        server = _AnnouncingServer(config, lambda: emitter.endpoint(url, names))
        print(f"Serving {', '.join(names)} at {url}/v1", flush=True)
        server.run(sockets=[listener])
    finally:
        backend.close()
        listener.close()


class _AnnouncingServer(uvicorn.Server):
    """Tells when it takes requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _bind(host: str, port: int) -> socket.socket:
    """Take the address before the model is loaded: a taken port shall not cost a minute."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise EngineError(
            Reason.BAD_SPEC,
            f"{host}:{port} cannot be taken ({error.strerror}); choose another port.",
        ) from error
    return listener
