"""The decoder for processors: one C++ call a step, compiled on first use."""

from engine.serve.cpu.build import KernelsUnavailable, is_available
from engine.serve.cpu.decoder import (
    CpuDecoder,
    CpuOptions,
    count_block_bytes,
    open_cpu_decoder,
)

__all__ = [
    "CpuDecoder",
    "CpuOptions",
    "KernelsUnavailable",
    "count_block_bytes",
    "is_available",
    "open_cpu_decoder",
]
