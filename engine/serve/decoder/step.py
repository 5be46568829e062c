"""What the step loop asks of a decoder: one forward pass over a flat batch of new tokens.

Every request's new tokens lie one after the other without padding: a prefill chunk of many, or the
one token of a decode. N new tokens, S requests, R wanted rows, V vocabulary, E hidden width.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class StepBatch:
    """One step's work, in CPU tensors."""

    token_ids_N: Tensor
    """int32."""
    positions_N: Tensor
    """int32: the place in its request, from 0."""
    query_starts_S1: Tensor
    """int32, S + 1: request s has the new tokens from entry s up to entry s + 1."""
    context_lengths_S: Tensor
    """int32: positions of the request after this step, the new ones included."""
    block_tables_SB: Tensor
    """int32: the pool's blocks that hold the request's positions in order; -1 fills the rest.
    Position p lies in entry p // block_size, at p % block_size."""
    logits_rows_R: Tensor
    """int32: the new tokens whose logits are wanted."""
    adapters_S: Tensor
    """int32: the slot of the request's adapter; -1 is the bare base."""
    unread_ids_N: Tensor | None = None
    """int64, on the decoder's device: the new tokens where nobody has read them yet, instead of
    `token_ids_N`. Only of a decoder that goes ahead."""


@dataclass(frozen=True)
class LoraPair:
    """The low-rank update of one linear layer: y += (x A^T) B^T, the scale multiplied into B."""

    a_RI: Tensor
    b_OR: Tensor


class Decoder(Protocol):
    """A model with its pool of key-value blocks. One thread only.

    The same request gives the same numbers whatever shares its batch, however its prompt is cut
    and wherever its blocks lie, up to what `is_batch_invariant` says.
    """

    vocab_size: int
    block_size: int
    num_blocks: int
    is_batch_invariant: bool
    """True: bit for bit. False: up to rounding."""
    goes_ahead: bool
    """`forward` returns before its numbers are there, so that a step whose tokens nobody has read
    yet may be asked for behind it: what is asked later is done later."""

    def forward(self, batch: StepBatch) -> Tensor:
        """Write the new keys and values into the pool and return float32 logits, R x V."""
        ...

    def embed(self, batch: StepBatch) -> Tensor:
        """As `forward`, but return the normed last hidden states of the wanted rows, R x E."""
        ...

    def set_adapter(self, slot: int, pairs: dict[tuple[int, str], LoraPair]) -> None:
        """Fill a slot; keys are (layer, `query|key|value|output|gate|up|down`).

        Only a module's are other ones (`module_decoder`): whoever opens a decoder has the reader of
        its adapters.
        A slot that a running step may use is never set: the loop calls it between steps.
        """
        ...

    def drop_adapter(self, slot: int) -> None:
        """Empty a slot."""
        ...

    def copy_block(self, source: int, target: int) -> None:
        """Copy a block's keys and values in every layer."""
        ...

    def close(self) -> None:
        """Let go of what outlives the object: threads, other processes. Nothing is asked after."""
        ...
