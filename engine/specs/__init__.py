"""What a job is: one tagged union of specs, which validates, draws the form and is recorded.

A contract module: pydantic and the standard library only.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter

from engine.specs.base import RepoRef, Spec, split_ref
from engine.specs.placement import Placement
from engine.specs.script import ScriptSpec, split_source
from engine.specs.serve import ServeSpec
from engine.specs.train import TRAIN_PRESETS, LoraOptions, TrainSpec

JobSpec = Annotated[TrainSpec | ServeSpec | ScriptSpec, Field(discriminator="kind")]
JOB_SPEC: TypeAdapter[TrainSpec | ServeSpec | ScriptSpec] = TypeAdapter(JobSpec)

__all__ = [
    "JOB_SPEC",
    "TRAIN_PRESETS",
    "JobSpec",
    "LoraOptions",
    "Placement",
    "RepoRef",
    "ScriptSpec",
    "ServeSpec",
    "Spec",
    "TrainSpec",
    "split_ref",
    "split_source",
]
