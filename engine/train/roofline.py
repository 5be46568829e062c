"""How fast the machine multiplies matrices, measured, and what share of that a training uses."""

import functools
import time

import torch
import torch.distributed as dist

from engine.specs import TrainSpec
from engine.specs.flops import StepWork, count_flops
from engine.specs.shape import ModelShape
from engine.train.mesh import Mesh
from engine.train.trainee import Trainee

# Large enough that the multiplying units are busy and nothing else counts, small enough for 0.3 s.
_SIZE_CPU, _SIZE_GPU = 1024, 8192
_MEASURED_S = 0.25
_FEWEST = 3


class Use:
    """How fast a training computes, and what share of its machine's speed that is."""

    def __init__(self, spec: TrainSpec, trainee: Trainee, mesh: Mesh) -> None:
        """Measure the speed. Every process of a mesh calls it."""
        self._spec = spec
        self._num_adapter_params = trainee.num_adapter_params
        self._flops_per_s = measure_roofline(mesh, trainee.compute_dtype)
        try:
            self._shape: ModelShape | None = ModelShape.from_config(trainee.base.config.to_dict())
        except ValueError:  # a decoder whose sizes have other names: nothing is told of it
            self._shape = None
        self._num_steps, self._flops, self._elapsed_s = 0, 0.0, 0.0

    def measure(self, work: StepWork, elapsed_s: float) -> dict[str, float]:
        """Return a step's `mfu` and `hfu`, 0..1, and `flops_per_s` of all steps so far.

        The first step warms up, so that the mean leaves it out as soon as there is another. For a
        model of unknown shape nothing is told. `roofline_flops_per_s` is what `hfu` is a share of.
        """
        if self._shape is None:
            return {}
        flops = count_flops(
            self._spec, self._shape, work, num_adapter_params=self._num_adapter_params
        )
        self._num_steps += 1
        if self._num_steps == 2:
            self._flops = self._elapsed_s = 0.0
        self._flops += flops.hardware
        self._elapsed_s += elapsed_s
        whole = elapsed_s * self._flops_per_s
        return {
            "mfu": flops.model / whole,
            "hfu": flops.hardware / whole,
            "flops_per_s": self._flops / self._elapsed_s,
            "roofline_flops_per_s": self._flops_per_s,
        }


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
