"""Serving: one base model and any number of its adapters, over HTTP, gRPC or from Python.

`backend.py` is the seam. Behind it `native_backend.py` knows names and talks, `loop.py` makes
the tokens as `plan.py` says, and `decoder/` or `cpu/` computes them; `backends/` has the other ways
to make them. `Engine` is the way in for a Python program:

    from engine.serve import Engine
"""

from typing import Any

__all__ = ["Answer", "Engine", "RequestRefused"]


def __getattr__(name: str) -> Any:
    """Load the Python API when it is asked for: most of this package is used without it."""
    if name in __all__:
        from engine.serve import python_api

        return getattr(python_api, name)
    raise AttributeError(name)
