"""QuantizeSpec: a model's weights in fewer bits, with a measured report of what it costs."""

from typing import Literal, Self

from pydantic import Field, model_validator

from engine.specs.base import NamedRepo, RepoRef, Spec
from engine.specs.sources import Source

QuantMethod = Literal["awq", "gptq", "smoothquant", "int8", "rtn"]
GroupSize = Literal[32, 64, 128]
GROUP_SIZES: tuple[GroupSize, ...] = (128, 64, 32)
"""Largest first: what is chosen from where a spec names none."""
FOUR_BIT: frozenset[QuantMethod] = frozenset({"awq", "gptq", "rtn"})


class QuantizeSpec(Spec):
    """Hold a model's weights in 4 or 8 bits: smaller, faster to answer, and a little less exact."""

    kind: Literal["quantize"] = "quantize"
    model: RepoRef = Field(title="Model", json_schema_extra={"part": "what", "widget": "model"})
    """The model whose weights are rounded. It must hold all of them: no adapter."""
    method: QuantMethod = Field(
        default="awq", title="Method", json_schema_extra={"part": "how", "widget": "quant_method"}
    )
    """`awq`, `gptq` and `rtn` hold weights in 4 bits: by scales that spare the channels that count,
    by rounding column after column, or by plain rounding. `smoothquant` holds weights and inputs in
    8 bits, `int8` weights alone."""
    dataset: RepoRef | None = Field(
        default=None,
        title="Calibration data",
        json_schema_extra={"part": "what", "widget": "calibration"},
    )
    """Texts or conversations like those that the model will answer. If empty, a small set of
    English, Chinese and code that comes with the engine."""
    output: str = Field(
        default="",
        max_length=96,
        pattern=r"^([A-Za-z0-9][\w.\-]*)?$",
        title="Name of the result",
        json_schema_extra={"part": "what", "widget": "repo_name"},
    )
    """The repo in your namespace that receives the result. If empty, model and method name it."""
    group_size: GroupSize | None = Field(
        default=None,
        title="Group size",
        json_schema_extra={
            "part": "how",
            "widget": "group_size",
            "only": {"method": ["awq", "gptq", "rtn"]},
        },
    )
    """Weights that share a scale, of the 4-bit methods. Fewer is more exact and a little larger. If
    empty, the largest of 128, 64 and 32 that the model's layers divide by."""
    num_samples: int = Field(
        default=64, ge=1, le=4096, title="Calibration samples", json_schema_extra={"part": "how"}
    )
    """Windows of text that the model reads while it is measured what matters."""
    num_held_out: int = Field(
        default=16,
        ge=2,
        le=1024,
        title="Samples to measure on",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Windows, of other rows than those of the calibration, that perplexity is measured on."""
    length: int = Field(
        default=512,
        ge=32,
        le=32_768,
        title="Length",
        json_schema_extra={"part": "how", "unit": "tokens"},
    )
    """Tokens of one window."""
    damping: float = Field(
        default=0.01,
        gt=0,
        le=1,
        title="Damping",
        json_schema_extra={"part": "how", "advanced": True, "only": {"method": ["gptq"]}},
    )
    """GPTQ: share of the mean curvature that is added to it, so that it can be inverted."""
    alpha: float | None = Field(
        default=None,
        ge=0,
        le=1,
        title="Alpha",
        json_schema_extra={
            "part": "how",
            "advanced": True,
            "widget": "searched",
            "only": {"method": ["smoothquant"]},
        },
    )
    """SmoothQuant: how much of the inputs' spread moves into the weights. If empty, it is searched
    for each layer."""
    seed: int = Field(
        default=17,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        json_schema_extra={"part": "how", "advanced": True},
    )
    """Draws the windows."""

    @property
    def weight_bits(self) -> int:
        """Bits of a weight."""
        return 4 if self.method in FOUR_BIT else 8

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it is calibrated on; empty where that comes with the engine."""
        return (Source(repo=self.dataset),) if self.dataset else ()

    def list_sources(self) -> tuple[NamedRepo, ...]:
        """Return all that a run of it reads from the hub."""
        data: list[NamedRepo] = [("dataset", self.dataset)] if self.dataset else []
        return ("model", self.model), *data

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.group_size is not None and self.method not in FOUR_BIT:
            raise ValueError(
                f"group_size: {self.method} has one scale for each output: leave group_size out, "
                "or set method to awq, gptq or rtn"
            )
        if self.alpha is not None and self.method != "smoothquant":
            raise ValueError(
                "alpha: it is SmoothQuant's: leave it out, or set method to smoothquant"
            )
        return self


def fit_group_size(spec: QuantizeSpec, widths: set[int]) -> int:
    """Return the group size for layers of these input widths; 0 is a whole row.

    Raises:
        ValueError: the size that was asked for, or any at all, does not divide one of them.
    """
    if spec.method not in FOUR_BIT:
        return 0
    sizes = GROUP_SIZES if spec.group_size is None else (spec.group_size,)
    fitting = [size for size in sizes if all(width % size == 0 for width in widths)]
    if fitting:
        return fitting[0]
    odd = next(width for width in sorted(widths) if width % sizes[-1])
    if spec.group_size is not None:
        raise ValueError(
            f"group_size: {odd} inputs of a layer do not divide by {spec.group_size}: leave "
            "group_size out, or take a smaller one."
        )
    raise ValueError(
        f"model: {odd} inputs of a layer divide by none of 128, 64 and 32: set method to "
        "smoothquant or int8."
    )
