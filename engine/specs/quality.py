"""QualityReport: what a quantized model has lost and won, as its `quantization.json` holds it.

A contract module: pydantic and the standard library only. Unknown fields are ignored, so that an
older reader takes a newer report.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

REPORT_NAME = "quantization.json"

KvPrecision = Literal["bf16", "int8", "int4"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Scheme(_Part):
    """How the weights are held."""

    method: str
    """awq, gptq, smoothquant, int8 or rtn."""
    format: Literal["awq", "gptq", "compressed-tensors"]
    """`quant_method` of its config.json."""
    weight_bits: int
    activation_bits: int = 16
    group_size: int = 0
    """Weights that share a scale; 0 is all of an output."""
    is_symmetric: bool = True


class Measured(_Part):
    """One way to run the model, on the held-out windows."""

    perplexity: float
    """e to the mean loss in nats of each next token."""
    agreement: float = Field(ge=0, le=1)
    """Share of positions whose likeliest token is the base's."""


class GreedyMatch(_Part):
    """How long greedy answers stay those of the base."""

    mean_tokens: float
    """Tokens of the base's own greedy continuation that the quantized model gives as well."""
    of_tokens: int
    """Tokens that each continuation has."""
    num_prompts: int


class Speed(_Part):
    """Measured on the host that made it, one stream."""

    device: str
    engine: str
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    base_prefill_tokens_per_s: float
    base_decode_tokens_per_s: float


class LayerError(_Part):
    """One layer."""

    index: int
    linear: float
    """Squared error of its linear layers' outputs, of the outputs' own, on calibration rows."""
    stream: float
    """The same of what leaves the layer, all layers before it quantized too, on held-out text."""


class Calibration(_Part):
    """What it was made with."""

    dataset: str
    """Empty: the set that comes with the engine."""
    revision: str = ""
    num_windows: int
    length_tokens: int
    num_held_out_windows: int
    num_held_out_tokens: int


class QualityReport(_Part):
    """The report card."""

    version: int = 1
    scheme: Scheme
    base: str
    """Ref of the model that was quantized, and its revision."""
    base_revision: str = ""
    calibration: Calibration
    base_perplexity: float
    quantized: Measured
    kv: dict[Literal["int8", "int4"], Measured] = {}
    """The quantized model with its keys and values rounded too, by their precision."""
    recommended_kv: KvPrecision = "bf16"
    """The smallest that costs no more than the bound below."""
    kv_bound: float = 0.01
    """Share by which a KV precision may raise the perplexity to be recommended."""
    greedy: GreedyMatch | None = None
    weights_digest: str = ""
    """Of the weight files (`engine/models/digest.py`): a card beside others speaks of none of them.

    Empty in cards of before, which are believed."""
    size_bytes: int
    """Of the weight files."""
    base_size_bytes: int
    bytes_per_weight: float
    """Of the quantized linear layers, scales included."""
    speed: Speed | None = None
    speed_note: str = ""
    """Why there is none."""
    layers: list[LayerError] = []
    device: str = ""
    """In words: what made it."""
    duration_s: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def perplexity_ratio(self) -> float:
        """How many times the base's perplexity it has."""
        return self.quantized.perplexity / self.base_perplexity
