"""What belongs to one stage of training alone."""

from typing import Literal

from pydantic import Field

from engine.specs.base import Spec
from engine.specs.formats import FormatName

StageName = Literal["sft", "pretrain", "dpo", "reward"]
MethodName = Literal["lora", "qlora", "full"]
PAIR_STAGES: frozenset[StageName] = frozenset({"dpo", "reward"})
"""They learn from preference pairs, and from nothing else."""

FormatVerdict = Literal["suits", "needs_pairs", "is_pairs", "learns_all", "learns_answers"]

# The highest learning rate where a spec names none: of an adapter, and of all weights, which bear
# a tenth of it or less (Schulman and others, "LoRA Without Regret", 2025). Those of adapters are
# the ones that docs/engine.md tells results of.
_RATES: dict[StageName, tuple[float, float]] = {
    "sft": (2e-3, 1e-4),
    "pretrain": (1e-3, 2e-4),
    "dpo": (5e-4, 2e-5),
    "reward": (5e-4, 5e-5),
}


def get_usual_rate(stage: StageName, method: MethodName) -> float:
    """Return the learning rate that a spec of this stage and method has where it names none."""
    adapter, full = _RATES[stage]
    return full if method == "full" else adapter


def judge_format(stage: StageName, name: FormatName) -> FormatVerdict:
    """Say whether a stage learns from rows of a format, and from what of them.

    `needs_pairs` and `is_pairs` are refused by the engine; under `learns_all` a document is learnt
    whole where answers are wanted, under `learns_answers` answers alone where texts are.
    """
    if stage in PAIR_STAGES:
        return "suits" if name == "preference" else "needs_pairs"
    if name == "preference":
        return "is_pairs"
    if stage == "pretrain":
        return "suits" if name == "text" else "learns_answers"
    return "learns_all" if name == "text" else "suits"


class DpoOptions(Spec):
    """Direct preference optimization (arXiv 2305.18290)."""

    beta: float = Field(default=0.1, gt=0, le=10, title="Beta")
    """How strongly the model is held to what it was before: less lets it go further."""


class RewardOptions(Spec):
    """A reward model, by the loss of the InternLM2 report (arXiv 2403.17297, section 4.3.1)."""

    focus: float = Field(default=2.0, ge=0, le=10, title="Focus")
    """The report's gamma: how much less a pair counts that is ranked rightly already."""
    barrier: float = Field(default=0.02, ge=0, le=10, title="Barrier")
    """The report's lambda: how strongly scores are kept between -5 and 5."""
