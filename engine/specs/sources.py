"""Where a run's rows come from: one or more sources, each with a format and a share.

A contract module: pydantic and the standard library only.
"""

from typing import Literal

from pydantic import Field

from engine.specs.base import RepoRef, Spec
from engine.specs.formats import FormatName

SourceFormat = Literal["auto", FormatName]


class Source(Spec):
    """One dataset of a mixture."""

    repo: RepoRef = Field(title="Dataset", json_schema_extra={"widget": "dataset"})
    """A dataset of the hub, or a path to a file or folder."""
    format: SourceFormat = Field(
        default="auto", title="Format", json_schema_extra={"advanced": True}
    )
    """What its rows look like. `auto` tells it from the first rows of each file."""
    split: str = Field(
        default="",
        max_length=64,
        pattern=r"^[\w.\-]*$",
        title="Split",
        json_schema_extra={"advanced": True},
    )
    """Files named after it are read. If empty, `train`, or all files where no split is named."""
    files: tuple[str, ...] = Field(
        default=(), max_length=64, title="Files", json_schema_extra={"advanced": True}
    )
    """Files to read, such as `data/*.parquet`, in place of a split."""
    weight: float = Field(
        default=1.0, gt=0, le=1000, title="Weight", json_schema_extra={"unit": "passes"}
    )
    """How often its rows are seen in one epoch: 2 is twice, 0.5 another half each time."""
