"""The advisor's arithmetic: what a spec will need, before it runs, without torch.

Pure functions of a model's shape, a dataset's size and a machine. A contract module: pydantic and
the standard library only. Constants say where they were measured.
"""

import math
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from engine.specs.serve import ServeSpec
from engine.specs.train import TrainSpec

# A process with torch, transformers and peft, before any model: resident set on Linux x86-64.
_PROCESS_BYTES = 620 * 2**20
# Activations kept for the backward pass, in units of (tokens x layers x width), by their width.
_HIDDEN_COPIES = 14
_INNER_COPIES = 5
# Logits exist for a block of supervised tokens at a time: bf16, float32 and its gradient.
_LOGIT_BYTES = 10
# Multiply-adds per weight and token: forward, and backward to the activations (frozen weights need
# no gradient of their own), plus attention and the adapter.
_FLOPS_PER_WEIGHT = 4.4
# With gradients of the weights as well: forward, and twice that backward.
_FLOPS_PER_TRAINED_WEIGHT = 6.0
_NF4_BYTES = 0.52  # a weight at 4 bits with its share of the scales (engine.models.nf4)
_CORE_FLOPS = 40e9  # one core of a server processor with AVX2 and no more, as trained
_GPU_FLOPS = 200e12  # bf16 on one data-centre GPU, as trained
_START_S = 15.0  # from launch to the first step: fetch, load, render


class ModelShape(BaseModel):
    """The numbers of a model that cost memory and time."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    num_params: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_context: int

    @property
    def layer_params(self) -> int:
        """Count the weights of the matrices inside the layers."""
        attention = self.head_dim * (2 * self.num_heads + 2 * self.num_kv_heads)
        return self.num_layers * self.hidden_size * (attention + 3 * self.intermediate_size)

    @classmethod
    def from_config(cls, config: dict[str, Any], *, num_params: int | None = None) -> Self:
        """Read a `config.json`; parameters are counted from the shape where the files do not tell.

        Raises:
            ValueError: the config lacks a size that every decoder has; the message names it.
        """
        try:
            hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
            heads, vocab = int(config["num_attention_heads"]), int(config["vocab_size"])
            inner = int(config.get("intermediate_size") or 4 * hidden)
        except KeyError as missing:
            raise ValueError(
                f"config.json has no {missing.args[0]}: it is no decoder we know"
            ) from missing
        kv_heads = int(config.get("num_key_value_heads") or heads)
        head_dim = int(config.get("head_dim") or hidden // heads)
        attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
        counted = layers * (attention + 3 * hidden * inner + 2 * hidden) + hidden
        counted += vocab * hidden * (1 if config.get("tie_word_embeddings") else 2)
        return cls(
            num_params=num_params or counted,
            hidden_size=hidden,
            intermediate_size=inner,
            num_layers=layers,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            vocab_size=vocab,
            max_context=int(config.get("max_position_embeddings") or 2048),
        )


class DataFacts(BaseModel):
    """The size of a dataset."""

    model_config = ConfigDict(frozen=True)

    num_samples: int
    num_tokens: int
    num_supervised_tokens: int
    longest_tokens: int


class Machine(BaseModel):
    """What a flavor gives a run."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    num_cores: int
    memory_bytes: int
    num_devices: int = 0
    device_memory_bytes: int = 0
    has_bf16: bool = False
    """Its processors compute bfloat16; where that is not known, the larger need is predicted."""


class TrainEstimate(BaseModel):
    """What a finetune will need."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    peak_memory_bytes: int
    """Most memory held at once: of the GPU where there is one, else of the process."""
    memory_parts: dict[str, int]
    """The same by `process`, `weights`, `adapter`, `activations` and `logits`; they add up."""
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
    """Predict peak memory, duration and steps of a finetune."""
    is_full = spec.method == "full"
    trained = shape.num_params if is_full else count_adapter_params(spec, shape)
    # A processor without bfloat16 instructions holds a bf16 base in float32 (engine.models.load).
    is_bf16 = spec.precision == "bf16" and (machine.num_devices > 0 or machine.has_bf16)
    base_bytes = 2 if is_bf16 else 4
    held_tokens = min(spec.micro_batch_tokens, data.num_tokens)
    per_token = _HIDDEN_COPIES * shape.hidden_size + _INNER_COPIES * shape.intermediate_size
    share = min(1.0, data.num_supervised_tokens / max(1, data.num_tokens))
    parts = {
        "process": _PROCESS_BYTES if not machine.num_devices else 0,
        "weights": 0 if is_full else _count_base_bytes(spec, shape, base_bytes),
        "adapter": 16 * trained,  # float32: weight, gradient and AdamW's two moments
        "activations": base_bytes * held_tokens * shape.num_layers * per_token,
        "logits": int(_LOGIT_BYTES * held_tokens * share * shape.vocab_size),
    }
    num_steps = count_steps(spec, data)
    num_tokens = num_steps * min(spec.tokens_per_step, data.num_tokens)
    return TrainEstimate(
        peak_memory_bytes=sum(parts.values()),
        memory_parts=parts,
        duration_s=_START_S + _train_seconds(spec, shape, machine, num_tokens, num_steps),
        num_steps=num_steps,
        num_tokens=num_tokens,
    )


def _count_base_bytes(spec: TrainSpec, shape: ModelShape, base_bytes: int) -> int:
    """Return the memory of a frozen base; at 4 bits all but embeddings and head are quantized."""
    if spec.method != "qlora":
        return base_bytes * shape.num_params
    kept = min(shape.num_params, shape.vocab_size * shape.hidden_size)
    return base_bytes * kept + int(_NF4_BYTES * (shape.num_params - kept))


def estimate_serve(spec: ServeSpec, shape: ModelShape) -> int:
    """Predict the memory, in bytes, of a server with one full context."""
    base_bytes = 2 if spec.precision == "bf16" else 4
    context = min(spec.max_context, shape.max_context)
    cache = 2 * base_bytes * context * shape.num_layers * shape.num_kv_heads * shape.head_dim
    return _PROCESS_BYTES + base_bytes * shape.num_params + cache


def _train_seconds(
    spec: TrainSpec, shape: ModelShape, machine: Machine, num_tokens: int, num_steps: int
) -> float:
    slow = 8 if spec.precision == "fp32" and machine.num_devices else 1  # no tensor cores
    speed = (
        _GPU_FLOPS * machine.num_devices if machine.num_devices else _CORE_FLOPS * machine.num_cores
    )
    per_weight = _FLOPS_PER_TRAINED_WEIGHT if spec.method == "full" else _FLOPS_PER_WEIGHT
    flops_per_token = per_weight * shape.num_params
    # An evaluation reads the held-out share forward only: a third of a training step's work.
    eval_share = (
        spec.eval_fraction * (num_steps / spec.eval_every_steps) / max(1e-9, spec.num_epochs)
    )
    return slow * num_tokens * flops_per_token * (1 + eval_share / 3) / speed
