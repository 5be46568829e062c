"""What the causal models of this folder share: the pass through the layers, the head, the call.

Each model's own file has its layers, its names and its sharding map. B batch, T new positions, S
positions with those in the cache, E hidden width, H heads, K key-value heads, D head width.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, slice_logits_to_keep
from transformers.utils import can_return_tuple


class RMSNorm(nn.Module):
    """Root mean square norm (arXiv 1910.07467), computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the normed values in the dtype of `hidden`."""
        wide = hidden.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale).to(hidden.dtype)


@dataclass(frozen=True)
class Parts:
    """Where a decoder keeps what a pass goes through."""

    embedding: nn.Embedding
    rotary: nn.Module | None
    layers: Iterable[nn.Module]
    norm: nn.Module


def run_layers(
    model: Any,
    parts: Parts,
    input_ids: Tensor | None,
    *,
    inputs_embeds: Tensor | None = None,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_values: Cache | None = None,
    use_cache: bool | None = None,
    **kwargs: Any,
) -> BaseModelOutputWithPast:
    """Embed, pass all layers, norm. What is not ours in `kwargs` goes on to the attention.

    Raises:
        ValueError: when not exactly one of `input_ids` and `inputs_embeds` is given.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError("give either input_ids or inputs_embeds")
    hidden_BTE = parts.embedding(input_ids) if inputs_embeds is None else inputs_embeds
    use_cache = model.config.use_cache if use_cache is None else use_cache
    if use_cache and past_key_values is None:
        past_key_values = DynamicCache(config=model.config)
    if position_ids is None:
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        position_ids = torch.arange(seen, seen + hidden_BTE.shape[1], device=hidden_BTE.device)
        position_ids = position_ids[None]
    mask = create_causal_mask(
        config=model.config,
        inputs_embeds=hidden_BTE,
        attention_mask=attention_mask,
        past_key_values=past_key_values,
        position_ids=position_ids,
    )
    angles = parts.rotary(position_ids) if parts.rotary is not None else None
    for layer in parts.layers:
        hidden_BTE = layer(
            hidden_BTE,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            angles=angles,
            use_cache=use_cache,
            **kwargs,
        )
    return BaseModelOutputWithPast(
        last_hidden_state=parts.norm(hidden_BTE), past_key_values=past_key_values
    )


def attend(
    module: Any,
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    *,
    attention_mask: Tensor | None,
    past_key_values: Cache | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Remember keys and values and attend with what the config names.

    Return B x T x H x D, and the weights where that keeps them.
    """
    if past_key_values is not None:
        key_BKTD, value_BKTD = past_key_values.update(key_BKTD, value_BKTD, module.layer_idx)
    run = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, attend_plainly)
    out: tuple[Tensor, Tensor | None] = run(
        module,
        query_BHTD,
        key_BKTD,
        value_BKTD,
        attention_mask,
        dropout=module.dropout if module.training else 0.0,
        scaling=module.scaling,
        **kwargs,
    )
    return out


def attend_plainly(
    module: Any,
    query_BHTD: Tensor,
    key_BKSD: Tensor,
    value_BKSD: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **ignored: Any,
) -> tuple[Tensor, Tensor]:
    """Attend with all scores in memory, the softmax in float32; return B x T x H x D and scores.

    What "eager" names. The mask is added.
    """
    shared = module.num_key_value_groups
    key, value = (x.repeat_interleave(shared, dim=1) for x in (key_BKSD, value_BKSD))
    scores_BHTS = query_BHTD @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores_BHTS = scores_BHTS + attention_mask
    weights_BHTS = scores_BHTS.softmax(dim=-1, dtype=torch.float32).to(query_BHTD.dtype)
    weights_BHTS = F.dropout(weights_BHTS, dropout, training=module.training)
    return (weights_BHTS @ value).transpose(1, 2).contiguous(), weights_BHTS


class InRepoModel(PreTrainedModel):
    """What transformers asks of a model, the same for all of ours."""

    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]
    # Old files hold what follows from the config.
    _keys_to_ignore_on_load_unexpected = [r"rotary(_pos)?_emb\.inv_freq"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        return True  # transformers searches the model's own file for it, and `attend` is here


class CausalHead:
    """The call of a causal language model: decoder, the wanted positions, head, loss."""

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits, B x T x V, of the last `logits_to_keep` positions (0: of all).

        With `labels` also the mean loss of each next token, as transformers' models give it.
        """
        model: Any = self
        out = model.get_decoder()(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice_logits_to_keep(out.last_hidden_state, logits_to_keep)
        logits = model.get_output_embeddings()(kept)
        loss = None
        if labels is not None:
            loss = model.loss_function(
                logits=logits, labels=labels, vocab_size=model.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


@dataclass(frozen=True)
class Bend:
    """What a model makes of the products of its output head before they are its logits."""

    scale: float = 1.0
    cap: float | None = None
    """Behind the scale, logits are cap * tanh(logit / cap) of what they were (Gemma 2)."""


def find_bend(model: Any) -> Bend:
    """Return what a config says of its logits, by the names that transformers' families use."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere
    scale /= getattr(config, "logits_scaling", None) or 1.0  # Granite
    return Bend(scale, getattr(config, "final_logit_softcapping", None))


def head_weight(model: Any) -> Tensor:
    """Return the V x E matrix that turns hidden states into logits, with its gradient.

    It is the output embedding's weight, but of a head that norms its rows before use (Baichuan 2).
    """
    head = model.get_output_embeddings()
    return head.normed_weight() if hasattr(head, "normed_weight") else head.weight
