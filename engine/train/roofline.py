"""How fast the machine multiplies matrices, measured: what MFU and HFU are shares of."""

import functools
import time

import torch
import torch.distributed as dist

from engine.train.mesh import Mesh

# Large enough that the multiplying units are busy and nothing else counts, small enough for 0.3 s.
_SIZE_CPU, _SIZE_GPU = 1024, 8192
_MEASURED_S = 0.25
_FEWEST = 3


def measure_roofline(mesh: Mesh, dtype: torch.dtype) -> float:
    """Return the FLOP/s that all processes of a training reach together on large square matrices.

    Each measures its own device at the same time, once in its life. Every process calls it.
    """
    mesh.agree(False)  # those that share a machine's cores have to measure at once
    own = _measure(mesh.device, dtype, torch.get_num_threads())
    if mesh.is_alone:
        return own
    total = torch.tensor(own, dtype=torch.float64, device=mesh.device)
    dist.all_reduce(total)
    return float(total)


@functools.cache
def _measure(device: torch.device, dtype: torch.dtype, num_threads: int) -> float:
    size = _SIZE_GPU if device.type == "cuda" else _SIZE_CPU
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(left)
    best_s = float("inf")
    begun = time.perf_counter()
    count = 0
    while count < _FEWEST or time.perf_counter() - begun < _MEASURED_S:
        _wait(device)
        started = time.perf_counter()
        torch.matmul(left, right, out=out)
        _wait(device)
        best_s = min(best_s, time.perf_counter() - started)
        count += 1
    return 2.0 * size**3 / best_s


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
