"""A serve run: opens the backend, binds the ports, says where it is, and answers until stopped."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import uvicorn

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.hub import fetch_repo
from engine.quantize.gate import check_quality
from engine.ranks import is_first_rank
from engine.serve.app import build_app
from engine.serve.backend import Backend
from engine.serve.backends import open_backend
from engine.serve.door import Door
from engine.serve.grpc.server import GrpcServer
from engine.specs import Placement, ServeSpec
from engine.status import Reason
from engine.stopping import StopGate

# Requests that are being rendered, or taken by another server, at the same time.
_MOST_SUBMITS = 128
_CUT_OFF_S = 1  # for connections of those whom the grace was too short


def serve(spec: ServeSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Serve until the gate's signal comes, and then until requests under way have ended.

    uvicorn takes the signals over while it runs and raises them again once it is down, which is
    when the gate hears them.

    Raises:
        EngineError: a model cannot be used, or an address is taken.
        StopRequested: the server was asked to stop, and is down.
    """
    if not is_first_rank():
        with gate.shield():  # the first lets it go, once the last answer has ended
            # Brings torch, which the other backends do without.
            from engine.serve.native import follow_first

            follow_first(spec, placement, emitter)
        return
    _check_quality(spec, placement, emitter)
    with ExitStack() as stack:
        listener = _bind(placement.host, placement.port)
        stack.callback(listener.close)
        backend = open_backend(spec, placement, emitter)
        stack.callback(backend.close)
        door = Door()
        grpc_server = _start_grpc(backend, placement, door)
        if grpc_server:
            stack.callback(grpc_server.stop, 0)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            build_app(backend, token=placement.server_token, door=door),
            log_level="info",
            access_log=False,
            timeout_graceful_shutdown=_CUT_OFF_S,
            lifespan="off",
        )
        names = [model.name for model in backend.list_models()]
        server = DrainingServer(
            config,
            door,
            grace_s=placement.grace_s,
            on_ready=lambda: emitter.endpoint(url, names),
            on_stop=grpc_server.say_closing if grpc_server else lambda: None,
        )
        print(f"Serving {', '.join(names)} at {url}/v1", flush=True)
        if grpc_server:
            print(f"gRPC at port {grpc_server.port}", flush=True)
        server.run(sockets=[listener])


def _check_quality(spec: ServeSpec, placement: Placement, emitter: Emitter) -> None:
    """Say, or refuse, that a quantized model is further from its base than the owner wants."""
    if spec.least_agreement == 0:
        return
    told = fetch_repo(spec.model, "model", placement, emitter, wants_weights=False)

    def fetch_weights() -> Path:
        return fetch_repo(spec.model, "model", placement, emitter).path

    if warning := check_quality(told.path, spec, fetch_weights):
        print(warning, flush=True)


class DrainingServer(uvicorn.Server):
    """Tells when it takes requests. Asked to stop, it sends newcomers away until all have left."""

    def __init__(
        self,
        config: uvicorn.Config,
        door: Door,
        *,
        grace_s: float,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        """`grace_s`: how long who is inside may stay after the first signal; a second ends it."""
        super().__init__(config)
        self._door = door
        self._grace_s = grace_s
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests."""
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(_MOST_SUBMITS, thread_name_prefix="submit")
        )
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first closes the door, the second ends at once."""
        super().handle_exit(sig, frame)
        if not self._door.is_closing:
            self.should_exit = False
            self._door.close()
            self._on_stop()

    async def on_tick(self, counter: int) -> bool:
        """Say whether it is time to go."""
        return await super().on_tick(counter) or self._door.is_drained(self._grace_s)


def _start_grpc(backend: Backend, placement: Placement, door: Door) -> GrpcServer | None:
    if placement.grpc_port is None:
        return None
    return GrpcServer(
        backend,
        host=placement.host,
        port=placement.grpc_port,
        token=placement.server_token,
        door=door,
    )


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
