"""The memory of a training, part by part, from shapes alone. A contract module: pure arithmetic.

What is kept for the backward pass was counted on the layers themselves (tests/engine/test_memory.py
counts again): so many numbers of each width a token and layer. P weights, A of them an adapter's,
T tokens at once, L layers, E hidden width, I inner width, H heads and K key-value heads of width D.
"""

from dataclasses import dataclass

from engine.specs.facts import DataFacts, Machine
from engine.specs.shape import ModelShape
from engine.specs.train import TrainSpec

MIB = 2**20
# A process with torch, transformers and peft and what a first training loads, without its model:
# resident set on Linux x86-64 with torch 2.13's build for processors.
PROCESS_BYTES = 560 * MIB
# A CUDA context with its libraries' workspaces; driver and device differ by some 100 MiB.
_CONTEXT_BYTES = 600 * MIB
_NF4_BYTES = 0.516  # a weight at 4 bits with its share of the scales (engine/models/nf4.py)
# Weights that are looked up at a time, as float32 with their places (nf4.py): on a GPU. On a CPU
# these are 2 MiB, and the holes that hundreds of them leave were measured.
_LOOK_UP_BYTES = {True: 96 * MIB, False: 32 * MIB}
# What an optimizer remembers of a weight: two moments in float32, or at a byte each with a scale
# for each block (engine/train/adam8.py), or Muon's one. Of embeddings, and under Muon of the head,
# it is always the first.
_MOMENT_BYTES = {"adamw": 8.0, "adamw8bit": 2.04, "muon": 4.0}
_OUTER_MOMENT_BYTES = 8.0
# So many numbers at a time are opened to be changed: both moments, and on their way back to a byte
# what they are, how large, and by how much. Measured.
_OPEN_BYTES, _MOST_OPEN = 20, 2**22
_WEIGHT_BYTES = _GRADIENT_BYTES = 4  # what is trained is kept in float32
# Where there are several processes FSDP gathers weights and lays them out once more, a layer ahead;
# of what is trained, gradients too are whole and laid out to be sent. Measured on a processor.
_COPIES = 4


@dataclass(frozen=True)
class _Kept:
    """What a layer keeps of a token: bytes for each number of the width, and how many others."""

    frozen: int
    trained: int
    inner_copies: int = 4
    query_copies: int = 3
    key_copies: int = 2


# Norms of bfloat16 keep float32 beside it; those that are trained keep what they normed as well.
_WIDE, _NARROW = _Kept(16, 24), _Kept(12, 26)
# The kernels of engine/train/rows.py keep what they were given: on processors, most of which have
# a compiler. Layers that `compile` fuses keep as they do on a GPU.
_BY_KERNELS = _Kept(8, 12, inner_copies=3, query_copies=2)
_SUM_BYTES = 4  # of each norm of a layer and each of its heads: a root, a sum of exponentials
_BLOCK = 256  # positions whose logits exist at once (engine/train/losses.py)
# Bytes of each: in the compute type, twice in float32, the gradient, and what is left of the block
# before; DPO takes the gradient from the logits anew, by two steps more.
_LOGIT_BYTES, _DPO_LOGIT_BYTES = 18, 24
_KERNEL_LOGIT_BYTES = 4  # in bfloat16, where they become their gradient, and the block before


@dataclass(frozen=True)
class Settings:
    """What of spec and machine the sums below ask for."""

    spec: TrainSpec
    shape: ModelShape
    data: DataFacts
    machine: Machine

    @property
    def is_full(self) -> bool:
        """Say whether all weights are trained."""
        return self.spec.method == "full"

    @property
    def is_on_gpu(self) -> bool:
        """Say whether a GPU's memory is what bounds it."""
        return self.machine.num_devices > 0

    @property
    def compute_bytes(self) -> int:
        """Bytes of a number in computation; a processor without bfloat16 takes float32."""
        has_bf16 = self.is_on_gpu or self.machine.has_bf16
        return 2 if self.spec.precision != "fp32" and has_bf16 else 4

    def count_moment_bytes(self, num_trained: int) -> float:
        """Return the bytes that the optimizer remembers of each of so many weights, on average."""
        each = _MOMENT_BYTES[self.spec.optimizer]
        if not (self.is_full or self.spec.lora.train_embeddings):
            return each
        matrix = self.shape.vocab_size * self.shape.hidden_size
        outer = matrix if self.spec.optimizer == "adamw8bit" else self.shape.end_params
        return each + (_OUTER_MOMENT_BYTES - each) * min(1.0, outer / max(1, num_trained))

    def waits_on_host(self, what: str) -> bool:
        """Say whether `optimizer` or `activations` leave the GPU while it does without them."""
        return self.is_on_gpu and self.spec.offload in (what, "both")

    @property
    def num_held(self) -> int:
        """Tokens of a process in memory at once."""
        sequence = self.spec.parallel.sequence
        return min(self.spec.micro_batch_tokens, self.data.num_tokens) // sequence


def predict_parts(
    spec: TrainSpec,
    shape: ModelShape,
    data: DataFacts,
    machine: Machine,
    *,
    num_adapter_params: int,
    num_steps: int,
) -> dict[str, int]:
    """Return the peak by part: of each GPU, or of all processes together on a CPU."""
    at = Settings(spec, shape, data, machine)
    whole = shape.num_params if at.is_full else num_adapter_params
    trained = _share_out(at, whole)
    ends = shape.end_params
    if not at.is_full and spec.lora.train_embeddings:
        whole += ends
        trained += ends // spec.parallel.shards
    moment_bytes = at.count_moment_bytes(whole)
    parts = {
        "process": _CONTEXT_BYTES if at.is_on_gpu else PROCESS_BYTES,
        "weights": _count_weights(at, ends, num_adapter_params),
        "adapter": int(_count_trained_bytes(at, moment_bytes) * trained) + _count_open(at),
        "activations": _count_activations(at),
        "logits": _count_logits(at),
        "checkpoint": 0,
    }
    if at.is_on_gpu:
        return parts
    num_processes = spec.parallel.num_processes
    parts = {name: size * num_processes for name, size in parts.items()}
    if (
        num_steps > spec.save_every_steps
    ):  # the first process holds a whole copy while it is written
        parts["checkpoint"] = int((_WEIGHT_BYTES + moment_bytes) * whole)
    elif num_processes > 1:  # and of the weights at the end
        parts["checkpoint"] = _WEIGHT_BYTES * whole
    return parts


def _count_trained_bytes(at: Settings, moment_bytes: float) -> float:
    moments = 0.0 if at.waits_on_host("optimizer") else moment_bytes
    return _WEIGHT_BYTES + _GRADIENT_BYTES + moments


def _count_open(at: Settings) -> int:
    """Count what 8-bit moments take while they are changed."""
    if at.spec.optimizer != "adamw8bit":
        return 0
    shape = at.shape
    largest = shape.hidden_size * max(shape.intermediate_size, shape.hidden_size)
    if not at.is_full:
        largest = at.spec.lora.rank * max(shape.intermediate_size, shape.hidden_size)
    elif shape.end_params > shape.vocab_size * shape.hidden_size:  # a head of its own
        largest = shape.vocab_size * shape.hidden_size
    return _OPEN_BYTES * min(_MOST_OPEN, _share_out(at, largest))


def _share_out(at: Settings, num_params: int) -> int:
    """Return how many of all weights one process holds."""
    parallel = at.spec.parallel
    parts = parallel.shards * parallel.sequence * parallel.tensor * parallel.pipeline
    return num_params // parts


def _count_weights(at: Settings, ends: int, num_adapter_params: int) -> int:
    """Count frozen weights, and what is held of weights in another form while they are used."""
    shape, size = at.shape, at.compute_bytes
    largest = shape.hidden_size * max(shape.intermediate_size, shape.hidden_size)
    gathered = _count_gathered(at, ends)
    cast = 2 if size == 2 else 0  # autocast keeps what it cast until the step's end
    if at.is_full:  # of layers that are spread it casts what was gathered
        parallel = at.spec.parallel
        own = shape.layer_params // (parallel.tensor * parallel.pipeline)
        return gathered + cast * (own + ends)
    cast *= num_adapter_params
    if at.spec.method == "lora":
        return gathered + cast + size * _share_out(at, shape.num_params)
    kept = size * ends
    packed = int(_NF4_BYTES * (shape.num_params - ends))
    looked_up = size * largest + _LOOK_UP_BYTES[at.is_on_gpu]
    if not at.is_on_gpu:  # the file stays mapped for the sake of what is not packed
        kept += 2 * (shape.num_params - ends)
    return gathered + cast + _share_out(at, kept + packed) + looked_up


def _count_gathered(at: Settings, ends: int) -> int:
    """Count the weights of a layer and of both ends, which are whole while they are used.

    On a CPU every process also loads all weights before it keeps its own, and the C library keeps
    what is freed.
    """
    shape, parallel = at.shape, at.spec.parallel
    size = _WEIGHT_BYTES if at.is_full else at.compute_bytes
    whole = size * (shape.layer_params // (shape.num_layers * parallel.tensor) + ends)
    if at.is_on_gpu:
        return whole if parallel.shards * parallel.sequence > 1 else 0
    if parallel.num_processes == 1:
        return 0
    loaded = _NF4_BYTES if at.spec.method == "qlora" else size
    return _COPIES * whole + int(loaded * shape.num_params)


def _count_activations(at: Settings) -> int:
    """Count what the layers keep for the backward pass."""
    spec, shape = at.spec, at.shape
    entered = (4 if at.is_full else at.compute_bytes) * shape.hidden_size  # a layer's input
    layer = count_layer_bytes(at)
    if at.waits_on_host("activations"):  # but those of the layer at work
        return int(at.num_held * (layer + entered))
    kept = {
        "none": shape.num_layers * layer,
        "selective": shape.num_layers * (layer + entered) / 2,
        "full": shape.num_layers * entered + layer,
    }[spec.activation_checkpointing]
    return int(at.num_held * kept)


def count_layer_bytes(at: Settings) -> float:
    """Count the bytes that one layer keeps of one token."""
    spec, shape, size = at.spec, at.shape, at.compute_bytes
    by_kernels = size == 2 and not at.is_on_gpu and not spec.compile
    kept = _BY_KERNELS if by_kernels else _NARROW if size == 2 else _WIDE
    hidden = (kept.trained if at.is_full else kept.frozen) * shape.hidden_size
    queries = kept.query_copies * shape.num_heads * shape.head_dim
    keys = kept.key_copies * shape.num_kv_heads * shape.head_dim
    inner = kept.inner_copies * shape.intermediate_size
    ranks = 0 if at.is_full else spec.lora.rank * len(spec.lora.target_modules)
    sums = _SUM_BYTES * (shape.num_heads + 2) if by_kernels else 0
    return hidden + size * ((queries + keys + inner) / spec.parallel.tensor + ranks) + sums


def _count_logits(at: Settings) -> int:
    """Count a block of logits, and a trained head's gradient beside its own place."""
    spec, shape = at.spec, at.shape
    if spec.stage == "reward":
        return 0
    share = min(1.0, at.data.num_supervised_tokens / max(1, at.data.num_tokens))
    block = min(_BLOCK, int(at.num_held * share))
    is_head_trained = at.is_full or spec.lora.train_embeddings
    head = 4 * shape.hidden_size * shape.vocab_size if is_head_trained else 0
    rows = 2 * at.compute_bytes * int(at.num_held * share) * shape.hidden_size
    by_kernels = at.compute_bytes == 2 and not at.is_on_gpu
    sft = _KERNEL_LOGIT_BYTES if by_kernels else _LOGIT_BYTES
    each = _DPO_LOGIT_BYTES if spec.stage == "dpo" else sft
    return each * block * shape.vocab_size + head + rows
