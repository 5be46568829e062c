"""The kernels, compiled once for all tests here: a machine without a compiler cannot run them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine.serve.cpu import CpuDecoder, CpuOptions, is_available, open_cpu_decoder
from tests.engine.serve.cpu.made import SHAPES, make_weights

Opener = Callable[..., CpuDecoder]


@pytest.fixture(autouse=True, scope="session")
def kernels():
    available = is_available()
    if not available:
        pytest.fail(available.why_not)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def open_made() -> Opener:
    """Open a made model: `open_made("llama", "int8", num_threads=2, kv_bits=8)`."""

    def opener(
        family: str = "llama",
        kind: str = "float32",
        *,
        num_threads: int = 1,
        max_adapters: int = 4,
        block_size: int = 16,
        **options: Any,
    ) -> CpuDecoder:
        shape = SHAPES[family]
        return open_cpu_decoder(
            shape,
            make_weights(shape, kind),
            num_blocks=48,
            block_size=block_size,
            num_threads=num_threads,
            max_adapters=max_adapters,
            options=CpuOptions(**options),
        )

    return opener
