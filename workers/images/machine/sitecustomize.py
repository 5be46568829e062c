"""Keeps PyTorch to the machine's share of its GPUs, in whatever environment of this Python it is.

Debian's Python reads this at each start, its virtual environments too; Pythons that are not the
image's do not. By a call of PyTorch's own, when CUDA begins: what PYTORCH_CUDA_ALLOC_CONF says for
it is unknown to PyTorch before 2.10, which then refuses to begin at all.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own would cost each start of Python its import
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


class _Watcher:
    """Waits for `torch.cuda`, once, and costs nothing until then."""

    def __init__(self, fraction: float) -> None:
        self._fraction = fraction

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "torch.cuda":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._follow(spec.loader)
                return spec
        return None

    def _follow(self, loader: Any) -> None:
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            _keep_to(self._fraction, module)

        loader.exec_module = exec_module


def _keep_to(fraction: float, cuda: Any) -> None:
    def limit() -> None:
        for index in range(cuda.device_count()):
            cuda.set_per_process_memory_fraction(fraction, index)

    try:
        cuda._lazy_call(limit)  # kept until CUDA begins, which this does not bring about
    except Exception as error:
        told = "this PyTorch does not keep to the machine's share of its GPU by itself"
        print(f"[Athanor] {told}: {error}", file=sys.stderr)


_percent = os.environ.get("ATHANOR_DEVICE_PERCENT", "")
if _percent.isdigit() and 0 < int(_percent) < 100:
    sys.meta_path.insert(0, _Watcher(int(_percent) / 100))
