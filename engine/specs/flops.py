"""How many floating-point operations a training step takes: what it must do, and what it does.

A multiply and an add are two. Counted are products of matrices, which take nearly all of the time;
not norms, softmax, embeddings' look-up, nor the optimizer. A contract module: pure arithmetic.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.specs.estimate import ModelShape
    from engine.specs.train import TrainSpec


@dataclass(frozen=True)
class StepWork:
    """What a step goes over."""

    num_tokens: int
    """Positions that pass the layers."""
    num_attended: int
    """Pairs of a position and one that it sees, itself among them: half a square a sample."""
    num_supervised: int
    """Positions whose logits are taken."""


@dataclass(frozen=True)
class Flops:
    """Operations of one step."""

    model: float
    """What the method asks for, however it is done: the numerator of MFU."""
    hardware: float
    """What is done, with what is computed a second time: the numerator of HFU."""


def count_flops(
    spec: "TrainSpec", shape: "ModelShape", work: StepWork, *, num_adapter_params: int
) -> Flops:
    """Count the operations of one step, forward and backward (arXiv 2205.05198, section 6.3).

    With w weights in the matrices of the layers, t tokens and a pairs that attend, of L layers with
    H heads of width D, and s supervised positions under a head of E x V:

    - forward: 2wt + 4LHDa + 2EVs; half of the square is not counted, since nobody need compute it.
    - backward of a full training: twice that, for the gradients of inputs and of weights.
    - backward of an adapter: of frozen matrices the inputs' gradient alone, so once; of attention
      twice; of the adapter's n weights 2nt forward and 4nt backward.
    - recomputation: the forward pass of all layers, or of every second one, once more; DPO takes
      its logits twice as well.
    """
    layers = 2.0 * shape.layer_params * work.num_tokens
    attention = 4.0 * shape.num_layers * shape.num_heads * shape.head_dim * work.num_attended
    has_head = spec.stage != "reward"  # a score is a column, not a head
    head = 2.0 * shape.hidden_size * shape.vocab_size * work.num_supervised * has_head
    is_full = spec.method == "full"
    is_head_trained = is_full or spec.lora.train_embeddings
    adapter = 0.0 if is_full else 2.0 * num_adapter_params * work.num_tokens
    model = layers * (3 if is_full else 2) + 3 * (attention + adapter)
    model += head * (3 if is_head_trained else 2)
    again = {"none": 0.0, "selective": 0.5, "full": 1.0}[spec.activation_checkpointing]
    repeated = again * (layers + attention + adapter) + (head if spec.stage == "dpo" else 0.0)
    return Flops(model=model, hardware=model + repeated)
