"""What a quantization will need, before it runs. A contract module: pure arithmetic.

The bounds are those that `engine/quantize` keeps: one layer in float32, the second moments of its
inputs, both ends of the model, and what flows between layers, of which a stream lies in memory only
while it is small (`activations.py`).
"""

from pydantic import BaseModel, ConfigDict

from engine.specs.facts import Machine
from engine.specs.memory import MIB, PROCESS_BYTES
from engine.specs.quantize import FOUR_BIT, QuantizeSpec
from engine.specs.shape import ModelShape

_STREAM_BYTES = 2**28  # of one stream in memory, at most
_NUM_HELD_STREAMS = 4  # base, quantized, and with keys and values in 8 and in 4 bits
_CHUNK_TOKENS = 2048
_SHARD_BYTES = 2**30
_SMALL_BYTES = 2**31  # a model of less stays whole while the base writes
_CONTEXT_BYTES = 600 * MIB
_ROWS = 512
_START_S = 15.0
_CORE_FLOPS = 40e9  # as a training's (estimate.py): float32 products of this size run alike
_GPU_FLOPS = 30e12  # float32 on one data-centre GPU
_NUM_CANDIDATES = {"awq": 20 + 1.5, "gptq": 1.0, "smoothquant": 8.0, "int8": 0.0, "rtn": 0.0}
# Of a layer's largest moments: scaled by the search; damped, factored and inverted by GPTQ.
_COPIES = {"awq": 3, "gptq": 4, "smoothquant": 0, "int8": 0, "rtn": 0}
_ROUNDINGS = 6  # of the largest matrix: codes, what they mean, errors, and what those are made of
_GREEDY_TOKENS = 64 * 16
_WRITE_BYTES_PER_S = 200e6


class QuantizeEstimate(BaseModel):
    """What a quantization will need."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    peak_memory_bytes: int
    memory_parts: dict[str, int]
    """The same by `process`, `weights` (a layer, what rounding it makes, and both ends),
    `activations`, `moments` and `written` (what waits to be written); they add up."""
    duration_s: float
    num_steps: int
    """Layers."""
    num_tokens: int
    """Of calibration and measuring together."""


def estimate_quantize(spec: QuantizeSpec, shape: ModelShape, machine: Machine) -> QuantizeEstimate:
    """Predict peak memory and duration of a quantization."""
    parts = _predict_parts(spec, shape, is_on_gpu=machine.num_devices > 0)
    return QuantizeEstimate(
        peak_memory_bytes=sum(parts.values()),
        memory_parts=parts,
        duration_s=_predict_seconds(spec, shape, machine),
        num_steps=shape.num_layers,
        num_tokens=spec.length * (spec.num_samples + spec.num_held_out),
    )


def _predict_parts(spec: QuantizeSpec, shape: ModelShape, *, is_on_gpu: bool) -> dict[str, int]:
    layer = shape.layer_params // max(1, shape.num_layers)
    whole = 4 * shape.num_params
    # The layer with its copy as it was, or the small model while the base writes.
    inner = max(2 * 4 * layer, whole - 4 * shape.end_params if whole <= _SMALL_BYTES else 0)
    widths = (shape.hidden_size, shape.num_heads * shape.head_dim, shape.hidden_size)
    inputs = (*widths, shape.intermediate_size)
    squares = sum(width * width for width in inputs) if spec.method in ("awq", "gptq") else 0
    largest = _COPIES[spec.method] * max(inputs) ** 2
    rounded = 4 * _ROUNDINGS * shape.hidden_size * shape.intermediate_size
    chunk = max(_CHUNK_TOKENS, spec.length)
    wide = 3 * shape.intermediate_size + 4 * shape.hidden_size
    logits = 3 * 4 * spec.length * shape.vocab_size
    streams = 0 if is_on_gpu else _count_streams(spec, shape)
    return {
        "process": _CONTEXT_BYTES if is_on_gpu else PROCESS_BYTES,
        "weights": inner + 4 * shape.end_params + rounded,
        "activations": streams + max(4 * chunk * wide, logits) + 4 * _ROWS * sum(inputs),
        "moments": 4 * (squares + largest),
        "written": 0 if is_on_gpu else min(_SHARD_BYTES, _count_written(spec, shape)),
    }


def _count_streams(spec: QuantizeSpec, shape: ModelShape) -> int:
    token = 4 * shape.hidden_size
    held = min(_STREAM_BYTES, spec.num_held_out * spec.length * token)
    return min(_STREAM_BYTES, spec.num_samples * spec.length * token) + _NUM_HELD_STREAMS * held


def _count_written(spec: QuantizeSpec, shape: ModelShape) -> int:
    inside = shape.layer_params * (0.56 if spec.method in FOUR_BIT else 1.03)
    return int(inside + 2 * shape.end_params)


def _predict_seconds(spec: QuantizeSpec, shape: ModelShape, machine: Machine) -> float:
    num_calibrated = spec.num_samples * spec.length
    num_held = spec.num_held_out * spec.length
    passes = 2 * num_calibrated + _NUM_HELD_STREAMS * num_held + _GREEDY_TOKENS
    forward = 2.0 * shape.layer_params * passes
    heads = 2.0 * shape.vocab_size * shape.hidden_size * _NUM_HELD_STREAMS * num_held
    # A candidate multiplies each weight with the moments of its input; so does gathering them.
    width = shape.intermediate_size / 2 + shape.hidden_size / 2
    moments = 2.0 * shape.layer_params * width * _NUM_CANDIDATES[spec.method]
    if spec.method in ("awq", "gptq"):
        moments += 2.0 * num_calibrated * width * width * 4 * shape.num_layers
    flops = forward + heads + moments
    is_on_gpu = machine.num_devices > 0
    speed = _GPU_FLOPS if is_on_gpu else _CORE_FLOPS * machine.num_cores
    return _START_S + flops / speed + 2 * shape.num_params * 2 / _WRITE_BYTES_PER_S
