"""How one training is spread over processes: the sizes of the mesh that they form."""

import math

from pydantic import Field

from engine.specs.base import Spec


class ParallelOptions(Spec):
    """Sizes of the mesh. Their product is the number of processes: one for each GPU.

    Losses and gradients are those of one process, whatever the sizes: they spread memory and work.
    """

    replicas: int = Field(
        default=1, ge=1, le=4096, title="Replicas", json_schema_extra={"advanced": True}
    )
    """Groups that hold all weights each and share the samples of a step (DDP)."""
    shards: int = Field(
        default=1, ge=1, le=4096, title="Shards", json_schema_extra={"advanced": True}
    )
    """Processes of a group that hold a part of the weights each and share the samples (FSDP)."""
    sequence: int = Field(
        default=1, ge=1, le=64, title="Sequence parts", json_schema_extra={"advanced": True}
    )
    """Processes that hold a part of each packed row: for long samples (Ulysses)."""
    tensor: int = Field(
        default=1, ge=1, le=64, title="Tensor parts", json_schema_extra={"advanced": True}
    )
    """Processes that hold a part of each matrix (tensor parallel)."""
    pipeline: int = Field(
        default=1, ge=1, le=256, title="Pipeline stages", json_schema_extra={"advanced": True}
    )
    """Groups that hold some of the layers each and pass micro-batches on (1F1B)."""

    @property
    def num_processes(self) -> int:
        """Return how many processes the mesh has."""
        return math.prod((self.pipeline, self.replicas, self.shards, self.sequence, self.tensor))
