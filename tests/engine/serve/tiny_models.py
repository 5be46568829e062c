"""The tiny model and loud adapters for it, as folders, and their backend and server."""

import queue
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import uvicorn

from engine.emitter import Emitter
from engine.models.lora import add_adapter
from engine.models.tiny import make_model
from engine.serve.app import build_app
from engine.serve.backend import Backend, ChatRequest, Piece, Sampling
from engine.serve.native import NativeBackend, open_native
from engine.specs import LoraOptions, Placement, ServeSpec

HELLO = ({"role": "user", "content": "Hello"},)
GREEDY = Sampling(max_tokens=12, temperature=0)
DEADLINE_S = 60


def save_adapter(folder: Path, *, seed: int, rank: int = 4) -> Path:
    """Save an adapter of the tiny model that says other things, by seed."""
    model = add_adapter(make_model(), LoraOptions(rank=rank), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.5, generator=generator)
    model.save_pretrained(folder)
    return folder


@contextmanager
def open_backend(model: Path, **options) -> Iterator[NativeBackend]:
    spec = ServeSpec(model=str(model), **{"precision": "fp32"} | options)
    with tempfile.TemporaryDirectory() as run_dir:
        backend = open_native(spec, Placement(run_dir=Path(run_dir)), Emitter())
        try:
            yield backend
        finally:
            backend.close()


@contextmanager
def serve_backend(backend: Backend, token: str | None = None, **options) -> Iterator[str]:
    """Serve a backend over real HTTP; gives the address. `options` are `build_app`'s."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = build_app(backend, token=token, **options)
    config = uvicorn.Config(app, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Reader:
    """Collects an answer's pieces from the backend's thread."""

    def __init__(self) -> None:
        self.pieces: queue.Queue[Piece] = queue.Queue()

    def next(self) -> Piece:
        return self.pieces.get(timeout=DEADLINE_S)

    def read_all(self) -> tuple[str, Piece]:
        """Return the rest of the answer's text and its last piece."""
        text = ""
        while True:
            piece = self.next()
            text += piece.text
            if piece.finish:
                return text, piece


def ask(backend: Backend, model: str, sampling: Sampling = GREEDY, messages=HELLO) -> str:
    """Return a whole answer."""
    reader = Reader()
    backend.submit(
        ChatRequest(model=model, messages=messages, sampling=sampling), reader.pieces.put
    )
    return reader.read_all()[0]
