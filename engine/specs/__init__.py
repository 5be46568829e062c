"""What a job is: one tagged union of specs, which validates, draws the form and is recorded.

A contract module: pydantic and the standard library only.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter

from engine.specs.base import RepoRef, Spec, split_ref
from engine.specs.inspect import InspectSpec
from engine.specs.placement import FetchedRepo, Placement
from engine.specs.quantize import QuantizeSpec
from engine.specs.script import ScriptSpec, split_source
from engine.specs.serve import ServeSpec
from engine.specs.train import LoraOptions, TrainSpec

AnySpec = TrainSpec | QuantizeSpec | ServeSpec | ScriptSpec | InspectSpec
JobSpec = Annotated[AnySpec, Field(discriminator="kind")]
JOB_SPEC: TypeAdapter[AnySpec] = TypeAdapter(JobSpec)

CONTAINABLE = (TrainSpec, QuantizeSpec, InspectSpec)
"""What can run shut in: all that it reads is known before it begins, and what it makes lies in
`out/` of its run directory when it ends. A model server does neither."""
CONTAINABLE_KINDS = frozenset(str(each.model_fields["kind"].default) for each in CONTAINABLE)

__all__ = [
    "CONTAINABLE",
    "CONTAINABLE_KINDS",
    "JOB_SPEC",
    "AnySpec",
    "FetchedRepo",
    "InspectSpec",
    "JobSpec",
    "LoraOptions",
    "Placement",
    "QuantizeSpec",
    "RepoRef",
    "ScriptSpec",
    "ServeSpec",
    "Spec",
    "TrainSpec",
    "split_ref",
    "split_source",
]
