"""What belongs to one stage of training alone."""

from pydantic import Field

from engine.specs.base import Spec


class DpoOptions(Spec):
    """Direct preference optimization (arXiv 2305.18290)."""

    beta: float = Field(
        default=0.1, gt=0, le=10, title="Beta", json_schema_extra={"advanced": True}
    )
    """How strongly the model is held to what it was before: less lets it go further."""


class RewardOptions(Spec):
    """A reward model, by the loss of the InternLM2 report (arXiv 2403.17297, section 4.3.1)."""

    focus: float = Field(
        default=2.0, ge=0, le=10, title="Focus", json_schema_extra={"advanced": True}
    )
    """The report's gamma: how much less a pair counts that is ranked rightly already."""
    barrier: float = Field(
        default=0.02, ge=0, le=10, title="Barrier", json_schema_extra={"advanced": True}
    )
    """The report's lambda: how strongly scores are kept between -5 and 5."""
