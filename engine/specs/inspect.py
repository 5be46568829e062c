"""InspectSpec: show what a training would learn, token by token, of the first rows of its data.

The launch page asks for it; it is `python -m engine data inspect` as a run on a node.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.specs.base import NamedRepo, RepoRef, Spec
from engine.specs.contract import DataContract
from engine.specs.sources import Source
from engine.specs.stages import StageName


class InspectSpec(Spec):
    """Render the first rows of datasets as a model's training would."""

    kind: Literal["inspect"] = "inspect"
    model: RepoRef
    """Whose tokenizer and chat template render the rows."""
    dataset: RepoRef
    mixture: tuple[Source, ...] = Field(default=(), max_length=64)
    stage: StageName = "sft"
    max_length: int = Field(default=512, ge=16, le=262_144)
    """Tokens of a sample beyond which it is cut."""
    num_samples: int = Field(default=3, ge=1, le=20)
    """Rows of each file that are shown."""
    most_rows: int = Field(default=1000, ge=1, le=100_000)
    """Rows of each file that are rendered and counted: the first ones."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is learnt from, the first dataset first."""
        return Source(repo=self.dataset), *self.mixture

    def list_sources(self) -> tuple[NamedRepo, ...]:
        """Return all that a run of it reads from the hub."""
        more: list[NamedRepo] = [("dataset", source.repo) for source in self.mixture]
        return ("model", self.model), ("dataset", self.dataset), *more


class Segment(BaseModel):
    """A part of a sample with one weight; of what is not learnt it is 0."""

    model_config = ConfigDict(frozen=True)

    text: str
    weight: float
    num_tokens: int


class ShownSample(BaseModel):
    """One sample, cut where its weight changes."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    file: str
    row: int
    """Number in its file, from 1."""
    source: int
    """Index of its source."""
    side: Literal["", "chosen", "rejected"] = ""
    num_tokens: int
    segments: list[Segment]
    is_cut: bool = False
    """What is shown here ends before the sample does."""


class Inspection(BaseModel):
    """What a person is shown of the data before anything is spent."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    contract: DataContract
    """Of the rows that were rendered."""
    samples: list[ShownSample]
    is_whole: bool = True
    """Every row was rendered."""
