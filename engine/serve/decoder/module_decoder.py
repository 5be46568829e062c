"""The decoder of models that no reader knows: a module of transformers over a pool of blocks.

Slower than the others: requests are computed one after the other, each operation started from
Python. N new tokens, S positions of a request, K key-value heads, D head width, R wanted rows.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from engine.serve.decoder.module_shape import KvShape, ModuleShape
from engine.serve.decoder.pool import Half, LayerPool
from engine.serve.decoder.step import LoraPair, StepBatch


class ModuleDecoder:
    """A module with its pool of key-value blocks. One thread only.

    An adapter's keys are (0, the linear layer's full name): `lora.read_module_lora`.
    """

    is_batch_invariant = False
    goes_ahead = False

    def __init__(
        self, model: Any, shape: ModuleShape, *, num_blocks: int, block_size: int = 16
    ) -> None:
        """Take a model as `open_module` gives it; the pool is made on its device."""
        self.vocab_size = shape.vocab_size
        self.block_size, self.num_blocks = block_size, num_blocks
        self._model = model
        self._pools = [
            _make_pool(layer, num_blocks, block_size, model.device) for layer in shape.layers
        ]
        self._takes_rows = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._adapters: dict[int, dict[str, LoraPair]] = {}
        self._active: dict[str, LoraPair] = {}
        self._hooked: set[str] = set()

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> Tensor:
        """Write the new keys and values into the pool and return float32 logits, R x V."""
        return self._run_each(batch, self._compute_logits)[:, : self.vocab_size]

    @torch.inference_mode()
    def embed(self, batch: StepBatch) -> Tensor:
        """As `forward`, but return the normed last hidden states of the wanted rows, R x E."""
        return self._run_each(batch, self._compute_hidden)

    @torch.inference_mode()
    def set_adapter(self, slot: int, pairs: dict[tuple[int, str], LoraPair]) -> None:
        """Fill a slot; one that was filled before is replaced."""
        device = self._model.device
        for _, name in pairs:
            self._hook(name)
        self._adapters[slot] = {
            name: LoraPair(pair.a_RI.to(device), pair.b_OR.to(device))
            for (_, name), pair in pairs.items()
        }

    def drop_adapter(self, slot: int) -> None:
        """Empty a slot."""
        self._adapters.pop(slot, None)

    @torch.inference_mode()
    def copy_block(self, source: int, target: int) -> None:
        """Copy a block's keys and values in every layer."""
        for pool in self._pools:
            pool.keys.copy_block(source, target)
            pool.values.copy_block(source, target)

    def close(self) -> None:
        """Nothing outlives it."""

    def _run_each(self, batch: StepBatch, compute: Any) -> Tensor:
        starts, wanted = batch.query_starts_S1.tolist(), batch.logits_rows_R
        parts, order = [], []
        for index, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
            own = ((wanted >= start) & (wanted < end)).nonzero().flatten()
            slot = int(batch.adapters_S[index])
            self._active = {} if slot < 0 else self._adapters[slot]
            ids_1N = batch.token_ids_N[None, start:end].to(self._model.device, torch.long)
            rows_R = (wanted[own] - start).to(self._model.device, torch.long)
            parts.append(compute(ids_1N, self._make_cache(batch, index), rows_R).float())
            order.append(own)
        return torch.cat(parts)[torch.cat(order).argsort().to(self._model.device)]

    def _compute_logits(self, ids_1N: Tensor, cache: Cache, rows_R: Tensor) -> Tensor:
        kept = {"logits_to_keep": rows_R} if self._takes_rows else {}
        logits: Tensor = self._model(
            input_ids=ids_1N, past_key_values=cache, use_cache=True, **kept
        ).logits[0]
        return logits if kept else logits[rows_R]

    def _compute_hidden(self, ids_1N: Tensor, cache: Cache, rows_R: Tensor) -> Tensor:
        out = self._model.get_decoder()(input_ids=ids_1N, past_key_values=cache, use_cache=True)
        hidden: Tensor = out.last_hidden_state[0, rows_R]
        return hidden

    def _make_cache(self, batch: StepBatch, index: int) -> Cache:
        length = int(batch.context_lengths_S[index])
        num_new = int(batch.query_starts_S1[index + 1] - batch.query_starts_S1[index])
        blocks_B = batch.block_tables_SB[index, : -(-length // self.block_size)].long()
        positions_N = torch.arange(length - num_new, length)
        rows_N = blocks_B[positions_N // self.block_size] * self.block_size
        rows_N = (rows_N + positions_N % self.block_size).to(self._model.device)
        blocks_B = blocks_B.to(self._model.device)
        return Cache([_PoolLayer(pool, blocks_B, rows_N, length) for pool in self._pools])

    def _hook(self, name: str) -> None:
        """Make a linear layer add the update of whichever adapter is active."""
        if name in self._hooked:
            return

        def add(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
            pair = self._active.get(name)
            if pair is None:
                return out
            low = inputs[0].to(pair.a_RI.dtype) @ pair.a_RI.T
            return out + (low @ pair.b_OR.T).to(out.dtype)

        self._model.get_submodule(name).register_forward_hook(add)
        self._hooked.add(name)


class _PoolLayer(DynamicLayer):
    """One layer of one request's cache, for one pass: what is new goes to the pool at once.

    transformers' own layer would be filled before the pass, with the context of all layers a
    second time; here only the layer that is computed is gathered.
    """

    def __init__(self, pool: LayerPool, blocks_B: Tensor, rows_N: Tensor, length: int) -> None:
        super().__init__()
        self._pool, self._blocks_B, self._rows_N = pool, blocks_B, rows_N
        self._length = length
        self._num_seen = length - len(rows_N)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep 1 x K x N x D and return all positions' keys and values, 1 x K x S x D."""
        self._num_seen = self._length
        return self._keep(self._pool.keys, key_states), self._keep(self._pool.values, value_states)

    def get_seq_length(self) -> int:
        """Return how many positions are kept."""
        return self._num_seen

    def _keep(self, half: Half, new_1KND: Tensor) -> Tensor:
        half.write(self._rows_N, new_1KND[0].transpose(0, 1))
        kept = half.gather(self._blocks_B, new_1KND.dtype).flatten(0, 1)[: self._length]
        return kept.transpose(0, 1)[None]


def _make_pool(layer: KvShape, num_blocks: int, block_size: int, device: torch.device) -> LayerPool:
    keys, values = (
        torch.zeros(
            num_blocks, block_size, layer.num_heads, width, dtype=layer.dtype, device=device
        )
        for width in (layer.key_width, layer.value_width)
    )
    return LayerPool("dense", Half(keys), Half(values))
