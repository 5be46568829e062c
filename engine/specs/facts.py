"""What an estimate is made from beside spec and model: a dataset's size and a machine.

A contract module: pydantic and the standard library only.
"""

from pydantic import BaseModel, ConfigDict


class DataFacts(BaseModel):
    """The size of a dataset."""

    model_config = ConfigDict(frozen=True)

    num_samples: int
    num_tokens: int
    num_supervised_tokens: int
    longest_tokens: int


class Machine(BaseModel):
    """What a flavor gives a run."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    num_cores: int
    memory_bytes: int
    num_devices: int = 0
    device_memory_bytes: int = 0
    has_bf16: bool = False
    """Its processors compute bfloat16; where that is not known, the larger need is predicted."""
    train_flops_per_s: float | None = None
    """What a training like the one in question reaches here, on all devices together, where that
    was measured; None has it guessed."""
