"""The model in training: from a batch to the sum of its losses, on one process or on many.

One row of T tokens; E hidden width, V vocabulary, S supervised positions.
"""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from peft import PeftModel
from peft.helpers import disable_input_dtype_casting
from torch import Tensor, nn

from engine.data.batch import Batch
from engine.models.decoder import find_bend, head_weight
from engine.models.shards import Shard
from engine.train.offload import keep_activations_on_host
from engine.train.stages import Dpo, Stage, Sums


class Elsewhere(nn.Module):
    """Stands where another process has a layer, and lets hidden states through as they are."""

    def __init__(self, layer: nn.Module | None = None) -> None:
        """Take the layer's place; some decoders ask it for what it attends to."""
        super().__init__()
        self.attention_type = getattr(layer, "attention_type", None)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return what came in."""
        return hidden


class Trainee(nn.Module):
    """A model, and the precision that it computes in.

    One module around model and loss, so that whoever spreads weights over processes has them whole
    for as long as the loss needs the output head.
    """

    def __init__(self, model: Any, compute_dtype: torch.dtype, stage: Stage | None = None) -> None:
        """Take a transformers model, or a peft model around one; the stage is SFT's if not told."""
        super().__init__()
        self.model = model
        self.stage = stage or Stage()
        self.compute_dtype = compute_dtype
        self.stage.bend = find_bend(self.base)
        named = model.named_parameters()
        self.num_adapter_params = sum(p.numel() for name, p in named if "lora_" in name)
        """Weights of the adapter's matrices; embeddings that are trained beside are none."""
        self.is_first_stage = self.is_last_stage = True
        """Whether it begins with token ids, and ends with a loss; of a pipeline's part see
        engine/train/pipeline.py."""
        self.hidden_dtype = torch.float32
        """What hidden states are between two stages."""
        self.shared_matrix: str | None = None
        """The matrix that is both embedding and head, where first and last stage both learn it."""

        self.offloads = False
        """Whether activations wait for the backward pass in the host's memory."""
        self.splits_rows = True
        """Whether processes that share matrices have some of a row's tokens each; not while they
        write together."""
        self.packs_rows = True
        """Whether samples lie side by side in a row; else each has a row to itself, and the model
        is called as it is anywhere else."""
        self.fused: dict[str, Shard] = {}
        """How parameters that hold several matrices are cut: by name, where they are."""

    @property
    def base(self) -> Any:
        """Return the transformers model itself."""
        return self.model.get_base_model() if self.is_adapted else self.model

    @property
    def is_adapted(self) -> bool:
        """Say whether an adapter is what learns."""
        return isinstance(self.model, PeftModel)

    @property
    def layers(self) -> list[nn.Module]:
        """Return the decoder's layers that are here, in order."""
        decoder = self.base.get_decoder()
        found = next(child for child in decoder.modules() if isinstance(child, nn.ModuleList))
        return [layer for layer in found if not isinstance(layer, Elsewhere)]

    def forward(
        self, batch: Batch, entered_1TE: Tensor | None = None, *, wants_logps: bool = False
    ) -> Tensor | Sums:
        """Return the sums of the losses of a batch, in nats, and of the stage's measures.

        With `wants_logps`, return the P x 2 log-probabilities of pairs' answers in its place. A
        stage of a pipeline takes what the one before returned; all but the last return 1 x T x E
        hidden states.
        """
        base = self.base
        begin = {"input_ids": batch.ids_1T} if entered_1TE is None else {}
        places: dict[str, Any] = {}
        if self.packs_rows:
            places = {"position_ids": batch.positions_1T, "layout": batch.layout}
        with self._mixed_precision(batch.ids_1T.device), self._offload(batch):
            hidden_1TE: Tensor = base.get_decoder()(
                **begin,
                inputs_embeds=entered_1TE,
                use_cache=False,
                **places,
            ).last_hidden_state
            if not self.is_last_stage:
                return hidden_1TE.to(self.hidden_dtype)
            head_VE = head_weight(base)
            if wants_logps:
                assert isinstance(self.stage, Dpo)
                return self.stage.get_logps(hidden_1TE[0], head_VE, batch)
            return self.stage.sum_up(hidden_1TE[0], head_VE, batch)

    def generate(self, **options: Any) -> Tensor:
        """Have the model write, as transformers' `generate` does with these options."""
        self.splits_rows = False
        try:
            with torch.autocast(
                self.model.device.type,
                dtype=torch.bfloat16,
                enabled=self.compute_dtype == torch.bfloat16,
            ):
                written: Tensor = self.model.generate(**options)
        finally:
            self.splits_rows = True
        return written

    def _offload(self, batch: Batch) -> AbstractContextManager[None]:
        return keep_activations_on_host(batch.num_tokens) if self.offloads else nullcontext()

    def _mixed_precision(self, device: torch.device) -> AbstractContextManager[object]:
        """Compute in bfloat16 where that is asked for: float32 weights are cast in their use."""
        stack = ExitStack()
        if self.compute_dtype == torch.bfloat16:
            if self.is_adapted:
                stack.enter_context(disable_input_dtype_casting(self.model))
            stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
        return stack
