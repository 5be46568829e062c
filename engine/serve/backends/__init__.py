"""What can answer behind a server, by the spec's word; each brings libraries of its own."""

import importlib

from engine.emitter import Emitter
from engine.serve.backend import Backend
from engine.specs import Placement, ServeSpec

# Word in a spec -> module and function that opens it.
BACKENDS: dict[str, tuple[str, str]] = {
    "native": ("engine.serve.native", "open_native"),
    "remote": ("engine.serve.backends.remote", "open_remote"),
    "lmdeploy": ("engine.serve.backends.lmdeploy", "open_lmdeploy"),
}


def open_backend(spec: ServeSpec, placement: Placement, emitter: Emitter) -> Backend:
    """Open the backend that a spec asks for.

    Raises:
        EngineError: a model or the place of it cannot be used.
    """
    module, function = BACKENDS[spec.backend]
    backend: Backend = getattr(importlib.import_module(module), function)(spec, placement, emitter)
    return backend
