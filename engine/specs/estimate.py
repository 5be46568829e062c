"""The advisor's arithmetic: what a spec will need, before it runs, without torch.

Pure functions of a model's shape, a dataset's size and a machine. A contract module: pydantic and
the standard library only. Constants say where they were measured.
"""

import math

from pydantic import BaseModel, ConfigDict

from engine.specs.facts import DataFacts, Machine
from engine.specs.flops import StepWork, count_flops
from engine.specs.memory import PROCESS_BYTES, predict_parts
from engine.specs.serve import ServeSpec
from engine.specs.shape import ModelShape
from engine.specs.train import TrainSpec

__all__ = [
    "DataFacts",
    "Machine",
    "ModelShape",
    "TrainEstimate",
    "count_adapter_params",
    "count_steps",
    "estimate_serve",
    "estimate_train",
]

_CORE_FLOPS = 40e9  # one core of a server processor with AVX2 and no more, as trained
_GPU_FLOPS = 200e12  # bf16 on one data-centre GPU, as trained
_START_S = 15.0  # from launch to the first step: fetch, load, render


class TrainEstimate(BaseModel):
    """What a training will need."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    peak_memory_bytes: int
    """Most memory held at once: of the GPU where there is one, else of the process."""
    memory_parts: dict[str, int]
    """The same by `process`, `weights`, `adapter` (what is trained, with its optimizer),
    `activations`, `logits` and `checkpoint` (a copy while it is written); they add up."""
    duration_s: float
    """Start to end, loading and evaluation included."""
    num_steps: int
    num_tokens: int
    """Tokens seen over all epochs."""


def count_adapter_params(spec: TrainSpec, shape: ModelShape) -> int:
    """Count the weights that a LoRA spec trains (arXiv 2106.09685, section 4.1)."""
    q, kv = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    sides = {
        "q_proj": shape.hidden_size + q,
        "k_proj": shape.hidden_size + kv,
        "v_proj": shape.hidden_size + kv,
        "o_proj": q + shape.hidden_size,
        "gate_proj": shape.hidden_size + shape.intermediate_size,
        "up_proj": shape.hidden_size + shape.intermediate_size,
        "down_proj": shape.intermediate_size + shape.hidden_size,
    }
    wide = max(sides.values())
    per_layer = sum(sides.get(name, wide) for name in spec.lora.target_modules)
    return shape.num_layers * spec.lora.rank * per_layer


def count_steps(spec: TrainSpec, data: DataFacts) -> int:
    """Count optimizer steps; the packer fills a step to about 97 % on short samples."""
    kept_tokens = data.num_tokens * (1 - spec.eval_fraction)
    steps = math.ceil(spec.num_epochs * kept_tokens / (0.97 * spec.tokens_per_step))
    return max(1, min(steps, spec.max_steps or steps))


def estimate_train(
    spec: TrainSpec, shape: ModelShape, data: DataFacts, machine: Machine
) -> TrainEstimate:
    """Predict peak memory, duration and steps of a training."""
    num_steps = count_steps(spec, data)
    parts = predict_parts(
        spec,
        shape,
        data,
        machine,
        num_adapter_params=0 if spec.method == "full" else count_adapter_params(spec, shape),
        num_steps=num_steps,
    )
    num_tokens = num_steps * min(spec.tokens_per_step, data.num_tokens)
    return TrainEstimate(
        peak_memory_bytes=sum(parts.values()),
        memory_parts=parts,
        duration_s=_START_S + _train_seconds(spec, shape, data, machine, num_steps),
        num_steps=num_steps,
        num_tokens=num_tokens,
    )


def estimate_serve(spec: ServeSpec, shape: ModelShape) -> int:
    """Predict the memory, in bytes, of a server with one full context."""
    base_bytes = 2 if spec.precision == "bf16" else 4
    context = min(spec.max_context, shape.max_context)
    cache = 2 * base_bytes * context * shape.num_layers * shape.num_kv_heads * shape.head_dim
    return PROCESS_BYTES + base_bytes * shape.num_params + cache


def _train_seconds(
    spec: TrainSpec, shape: ModelShape, data: DataFacts, machine: Machine, num_steps: int
) -> float:
    num_tokens = min(spec.tokens_per_step, data.num_tokens)
    length = data.num_tokens / max(1, data.num_samples)
    share = min(1.0, data.num_supervised_tokens / max(1, data.num_tokens))
    work = StepWork(num_tokens, int(num_tokens * length / 2), int(num_tokens * share))
    adapter = 0 if spec.method == "full" else count_adapter_params(spec, shape)
    flops = num_steps * count_flops(spec, shape, work, num_adapter_params=adapter).hardware
    # An evaluation reads the held-out share forward only: a third of a training step's work.
    eval_share = (
        spec.eval_fraction * (num_steps / spec.eval_every_steps) / max(1e-9, spec.num_epochs)
    )
    return flops * (1 + eval_share / 3) / (machine.train_flops_per_s or _guess_speed(spec, machine))


def _guess_speed(spec: TrainSpec, machine: Machine) -> float:
    if not machine.num_devices:
        return _CORE_FLOPS * machine.num_cores
    slow = 8 if spec.precision == "fp32" else 1  # no tensor cores
    return _GPU_FLOPS * machine.num_devices / slow
