"""TrainSpec: a training of any stage and method. Its fields are those of form and command line."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from engine.specs.base import NamedRepo, RepoRef, RepoRefOrNone, Spec
from engine.specs.context import ContextOptions
from engine.specs.parallel import ParallelOptions
from engine.specs.scratch import ScratchOptions
from engine.specs.sources import Source
from engine.specs.stages import (
    DpoOptions,
    MethodName,
    RewardOptions,
    StageName,
    get_usual_rate,
)


class LoraOptions(Spec):
    """Low-rank adapters (arXiv 2106.09685): what is trained instead of the whole model."""

    rank: int = Field(default=16, ge=1, le=256, title="LoRA rank")
    """Width of the adapter. More learns more and costs more memory."""
    alpha: float = Field(
        default=32.0, gt=0, le=1024, title="LoRA alpha", json_schema_extra={"advanced": True}
    )
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(
        default=0.0, ge=0, lt=1, title="LoRA dropout", json_schema_extra={"advanced": True}
    )
    """Share of the adapter's inputs dropped while training."""
    target_modules: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        title="Adapted layers",
        json_schema_extra={"advanced": True},
    )
    """Names of the linear layers that get an adapter."""
    variant: Literal["plain", "rslora", "dora"] = Field(
        default="plain", title="Variant", json_schema_extra={"advanced": True}
    )
    """rsLoRA scales by alpha / sqrt(rank) (arXiv 2312.03732); DoRA learns the size of each output
    apart (arXiv 2402.09353)."""
    rate_ratio: float = Field(
        default=1.0, ge=1, le=64, title="Rate of B", json_schema_extra={"advanced": True}
    )
    """How many times the learning rate the adapter's second matrix gets (LoRA+, 2402.12354)."""
    train_embeddings: bool = Field(
        default=False, title="Embeddings and head", json_schema_extra={"advanced": True}
    )
    """Train the embeddings and the output head whole, beside the adapter: for words and scripts
    that the model hardly knows. Such an adapter is large, and is merged before it is served."""


class TrainSpec(Spec):
    """Teach a base model from a dataset: as an adapter, or all of its weights."""

    kind: Literal["train"] = "train"
    stage: StageName = Field(
        default="sft", title="Stage", json_schema_extra={"part": "what", "widget": "stage"}
    )
    """What is learnt: answers, every token of a text, or which of two answers is the better."""
    method: MethodName = Field(
        default="lora", title="Method", json_schema_extra={"part": "how", "widget": "method"}
    )
    """`lora` learns an adapter, `qlora` one beside a base held in 4 bits, `full` every weight."""
    model: RepoRefOrNone = Field(
        default="", title="Base model", json_schema_extra={"part": "what", "widget": "model"}
    )
    """The model to start from; left out where a new one is made."""
    from_scratch: ScratchOptions | None = Field(
        default=None,
        title="New model",
        json_schema_extra={"part": "what", "only": {"stage": ["pretrain"]}},
    )
    """The shape of a model that begins with random weights, and its tokenizer."""
    dataset: RepoRef = Field(
        title="Dataset", json_schema_extra={"part": "what", "widget": "dataset"}
    )
    """What is learnt from: JSONL, JSON, Parquet or CSV, in any format that we know."""
    mixture: tuple[Source, ...] = Field(
        default=(),
        max_length=64,
        title="Mixture",
        json_schema_extra={"part": "what", "widget": "mixture"},
    )
    """Further datasets, each with its weight; the first one's is 1."""
    max_bad_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Bad rows allowed",
        json_schema_extra={"part": "what", "advanced": True},
    )
    """Share of a dataset's rows that may be bad and are left out; with more a run is refused."""
    output: str = Field(
        default="",
        max_length=96,
        pattern=r"^([A-Za-z0-9][\w.\-]*)?$",
        title="Name of the result",
        json_schema_extra={"part": "what", "widget": "repo_name"},
    )
    """The repo in your namespace that receives the result. If empty, model and dataset name it."""
    num_epochs: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        title="Epochs",
        json_schema_extra={"part": "how", "unit": "passes"},
    )
    """How often the whole dataset is seen."""
    max_steps: int | None = Field(
        default=None,
        ge=1,
        title="Most steps",
        json_schema_extra={"part": "how", "unit": "steps", "advanced": True},
    )
    """Stop after this many optimizer steps, whatever the epochs say."""
    learning_rate: float = Field(
        default=2e-3, gt=0, le=1.0, title="Learning rate", json_schema_extra={"part": "how"}
    )
    """The highest step size, reached after warm-up. Where none is given it is what goes with stage
    and method: 2e-3 for a LoRA adapter of SFT, and a tenth or less for all weights."""
    tokens_per_step: int = Field(
        default=512,
        ge=64,
        le=4_194_304,
        title="Tokens per step",
        json_schema_extra={"part": "how", "unit": "tokens"},
    )
    """Tokens in one optimizer step, packed without padding."""
    max_length: int = Field(
        default=512,
        ge=16,
        le=262_144,
        title="Longest sample",
        json_schema_extra={"part": "how", "unit": "tokens"},
    )
    """A longer conversation is cut here."""
    micro_batch_tokens: int = Field(
        default=512,
        ge=64,
        le=4_194_304,
        title="Tokens at once",
        json_schema_extra={"part": "how", "unit": "tokens", "advanced": True},
    )
    """Tokens held in memory at once; fewer saves memory and changes nothing else."""
    lora: LoraOptions = Field(
        default=LoraOptions(),
        title="LoRA",
        json_schema_extra={"part": "how", "only": {"method": ["lora", "qlora"]}},
    )
    """The adapter's shape."""
    dpo: DpoOptions = Field(
        default=DpoOptions(),
        title="DPO",
        json_schema_extra={"part": "how", "only": {"stage": ["dpo"]}},
    )
    """For the stage `dpo`: better answers become likelier, worse ones less so."""
    reward: RewardOptions = Field(
        default=RewardOptions(),
        title="Reward model",
        json_schema_extra={"part": "how", "only": {"stage": ["reward"]}},
    )
    """For the stage `reward`: a score for an answer, in place of words."""
    context: ContextOptions = Field(
        default=ContextOptions(),
        title="Window",
        json_schema_extra={
            "part": "how",
            "advanced": True,
            "only": {"method": ["full"], "from_scratch": [None]},
        },
    )
    """A longer window for the model, by the base of its rotary positions."""
    optimizer: Literal["adamw", "adamw8bit", "muon"] = Field(
        default="adamw", title="Optimizer", json_schema_extra={"part": "how", "advanced": True}
    )
    """AdamW; the same with a quarter of its memory; or Muon for the matrices inside the layers and
    AdamW for the rest."""
    schedule: Literal["cosine", "linear", "constant", "wsd"] = Field(
        default="cosine", title="Schedule", json_schema_extra={"part": "how", "advanced": True}
    )
    """How the learning rate falls after warm-up; `wsd` holds it, then falls to 0 at the end."""
    decay_ratio: float = Field(
        default=0.1,
        gt=0,
        le=1,
        title="Decay",
        json_schema_extra={"part": "how", "advanced": True, "only": {"schedule": ["wsd"]}},
    )
    """Share of the steps in which a `wsd` schedule falls."""
    activation_checkpointing: Literal["none", "selective", "full"] = Field(
        default="none",
        title="Recompute activations",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Keep less for the backward pass and compute it again: of every second layer, or of all."""
    offload: Literal["none", "optimizer", "activations", "both"] = Field(
        default="none",
        title="Keep on the host",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """What waits in the host's memory while the GPU does not need it: slower, and smaller."""
    compile: bool = Field(
        default=False, title="Compile", json_schema_extra={"part": "how", "advanced": True}
    )
    """Compile each layer before the first step: slower to start, faster to go."""
    parallel: ParallelOptions = Field(
        default=ParallelOptions(), title="Processes", json_schema_extra={"part": "how"}
    )
    """How the training is spread over GPUs."""
    warmup_ratio: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        title="Warm-up",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Weight decay",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """AdamW's pull of the adapter towards zero."""
    max_grad_norm: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        title="Gradient clip",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Gradients with a larger norm are scaled down to it."""
    eval_fraction: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        title="Held out",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Share of the samples kept out of training to measure the evaluation loss."""
    eval_every_steps: int = Field(
        default=20,
        ge=1,
        title="Evaluate every",
        json_schema_extra={"part": "how", "unit": "steps", "advanced": True},
    )
    """Steps between two evaluations."""
    save_every_steps: int = Field(
        default=20,
        ge=1,
        title="Checkpoint every",
        json_schema_extra={"part": "how", "unit": "steps", "advanced": True},
    )
    """Steps between two checkpoints. A stopped run keeps its last one."""
    keep_checkpoints: int = Field(
        default=2,
        ge=1,
        le=1000,
        title="Checkpoints kept",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """How many of the last checkpoints stay."""
    precision: Literal["bf16", "fp32", "fp8"] = Field(
        default="bf16",
        title="Precision",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Number format that is computed in; what is trained is always kept in fp32. `fp8` is bf16 with
    the large products in 8 bits, on a GPU that has it."""
    seed: int = Field(
        default=17,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """The same spec, seed and device give the same losses."""
    sample_prompts: tuple[str, ...] = Field(
        default=(),
        max_length=8,
        title="Sample prompts",
        json_schema_extra={
            "part": "how",
            "advanced": True,
            "only": {"stage": ["sft", "pretrain", "dpo"]},
        },
    )
    """Answered, or in pretraining gone on from, at each evaluation: you see the model learn."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is learnt from, the first dataset first."""
        return Source(repo=self.dataset), *self.mixture

    def list_sources(self) -> tuple[NamedRepo, ...]:
        """Return all that a run of it reads from the hub."""
        more: list[NamedRepo] = [("dataset", source.repo) for source in self.mixture]
        scratch = self.from_scratch
        start = self.model if scratch is None else scratch.tokenizer_from
        models: list[NamedRepo] = [("model", start)] if start else []
        return *models, ("dataset", self.dataset), *more

    @model_validator(mode="after")
    def _start_is_told(self) -> Self:
        scratch = self.from_scratch
        if scratch is None:
            if not self.model:
                raise ValueError(
                    "model is missing: name one, or tell a new one's shape in from_scratch"
                )
            return self
        if self.model:
            raise ValueError("model and from_scratch are both given: take one of them out")
        if (self.stage, self.method) != ("pretrain", "full"):
            raise ValueError(
                "from_scratch is for pretraining all weights: set stage to pretrain and method to "
                "full"
            )
        if self.max_length > scratch.max_positions:
            raise ValueError(
                "max_length is more than from_scratch.max_positions: lower it or raise "
                "max_positions"
            )
        return self

    @model_validator(mode="after")
    def _stage_fits(self) -> Self:
        if self.stage == "reward" and self.sample_prompts:
            raise ValueError("sample_prompts: a reward model writes nothing: take them out")
        return self

    @model_validator(mode="before")
    @classmethod
    def _take_usual_rate(cls, given: Any) -> Any:
        """Give a spec that names no learning rate the one that goes with its stage and method."""
        if not isinstance(given, dict) or "learning_rate" in given:
            return given
        try:
            usual = get_usual_rate(given.get("stage", "sft"), given.get("method", "lora"))
        except (KeyError, TypeError):  # no stage: its own field says so
            return given
        return {**given, "learning_rate": usual}

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if self.micro_batch_tokens > self.tokens_per_step:
            raise ValueError(
                "micro_batch_tokens is more than tokens_per_step: lower it or raise tokens_per_step"
            )
        if self.max_length > self.micro_batch_tokens:
            raise ValueError(
                "max_length is more than micro_batch_tokens: lower it or raise micro_batch_tokens"
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.parallel.pipeline > 1 and self.sample_prompts:
            raise ValueError(
                "sample_prompts: no process of a pipeline can answer alone: leave them out or set "
                "parallel.pipeline to 1"
            )
        if self.method != "full" and not self.context.changes_nothing:
            raise ValueError(
                "context: an adapter cannot change its base's window: set method to full, or leave "
                "context out"
            )
        if self.from_scratch is not None and not self.context.changes_nothing:
            raise ValueError(
                "context: a new model's window is told by from_scratch.max_positions and "
                "rope_theta: leave context out"
            )
        if self.precision == "fp8" and (self.method == "qlora" or self.parallel.tensor > 1):
            raise ValueError(
                "precision: fp8 multiplies whole matrices of more than 4 bits: take bf16, or set "
                "method to lora or full and parallel.tensor to 1"
            )
        return self

    @model_validator(mode="after")
    def _matrices_are_whole(self) -> Self:
        """Refuse here what the engine would refuse once the model is open."""
        spread = self.parallel.shards * self.parallel.tensor
        if self.optimizer == "muon" and spread > 1:
            raise ValueError(
                "optimizer: muon needs whole matrices on each process: take adamw, or set "
                "parallel.shards and parallel.tensor to 1"
            )
        if self.parallel.tensor > 1 and self.method == "qlora":
            raise ValueError(
                "parallel.tensor: a base at 4 bits cannot be cut: set it to 1, or set method to "
                "lora"
            )
        has_dora = self.method != "full" and self.lora.variant == "dora"
        if self.parallel.tensor > 1 and has_dora:
            raise ValueError(
                "lora.variant: dora needs whole matrices: set parallel.tensor to 1, or take plain"
            )
        return self
