"""Baichuan 1 and 2 (arXiv 2309.10305): 7B with rotary positions, 13B with ALiBi.

Names, layouts and config keys are those of the published checkpoints; no code comes with them.
B batch, T positions, E hidden width, H heads, D head width, V vocabulary.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedConfig
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from engine.models.alibi import EXTRA, add_positions, make_slopes
from engine.models.decoder import CausalHead, InRepoModel, Parts, RMSNorm, attend, run_layers
from engine.models.rope import RotaryEmbedding, rotate_halves, to_published_keys
from engine.models.shards import INPUTS, OUTPUTS, Shard

_VOCABULARY_OF_2 = 125_696  # tells Baichuan 2 from 1 where a config.json does not say it
_WIDTH_OF_13B = 5120


@strict
class BaichuanConfig(PreTrainedConfig):
    """The keys of a published config.json, and two of ours that say what those leave unsaid."""

    model_type = "baichuan"
    keys_to_ignore_at_inference = ["past_key_values"]
    # transformers has no word for `W_pack`, three parts that are divided each: see `sharding`.
    base_model_tp_plan = {
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }
    base_model_pp_plan = {
        "embed_tokens": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    # A key that a config.json leaves out has the value that the publishers' own class gives it.
    vocab_size: int = 64000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    max_position_embeddings: int | None = None
    model_max_length: int = 4096
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    z_loss_weight: float | int = 0
    rope_parameters: dict | None = None
    position_embedding: Literal["rope", "alibi"] | None = None
    """Ours. None: ALiBi for the shape of 13B, or where there is no `max_position_embeddings`."""
    norm_head: bool | None = None
    """Ours: the head norms its rows. None: it does with the vocabulary of Baichuan 2."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill what follows from the rest."""
        if self.position_embedding is None:
            is_13b = self.max_position_embeddings is None or self.hidden_size == _WIDTH_OF_13B
            self.position_embedding = "alibi" if is_13b else "rope"
        if self.max_position_embeddings is None:  # the window, for whoever asks
            self.max_position_embeddings = self.model_max_length
        if self.norm_head is None:
            self.norm_head = self.vocab_size == _VOCABULARY_OF_2
        kwargs.pop("gradient_checkpointing", None)  # a training switch that some files kept
        super().__post_init__(**kwargs)

    @property
    def head_dim(self) -> int:
        """D."""
        return self.hidden_size // self.num_attention_heads

    def to_dict(self) -> dict[str, Any]:
        """Return the published keys, and ours."""
        values = to_published_keys(super().to_dict())
        if self.position_embedding == "alibi":
            values.pop("max_position_embeddings", None)
        return values


class BaichuanAttention(nn.Module):
    """Attention whose queries, keys and values are one matrix: all queries, all keys, all values.

    With ALiBi a head is 8 numbers wider inside (engine/models/alibi.py), in the cache as well.
    """

    def __init__(self, config: BaichuanConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.head_dim
        self.scaling = self.head_dim**-0.5
        self.dropout = 0.0
        self.is_causal = True
        self.num_key_value_groups = 1
        self.W_pack = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        if config.position_embedding == "alibi":
            self.slopes_H = nn.Buffer(make_slopes(config.num_attention_heads), persistent=False)

    def forward(
        self,
        hidden_BTE: Tensor,
        *,
        position_ids: Tensor,
        angles: tuple[Tensor, Tensor] | None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Return B x T x E, and the weights where the attention keeps them."""
        size, length = hidden_BTE.shape[:2]
        query, key, value = (
            x.view(size, length, -1, self.head_dim).transpose(1, 2)
            for x in self.W_pack(hidden_BTE).chunk(3, dim=-1)
        )
        if angles is not None:
            query, key = rotate_halves(query, *angles), rotate_halves(key, *angles)
        else:
            query, key, value = add_positions(
                (query, key, value), self.slopes_H, position_ids, self.scaling
            )
        out, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **kwargs,
        )
        if angles is None:
            out = out[..., :-EXTRA]
        return self.o_proj(out.flatten(2)), weights


class BaichuanMLP(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__()
        inner = config.intermediate_size
        self.gate_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.down_proj = nn.Linear(inner, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, hidden_BTE: Tensor) -> Tensor:
        """Return B x T x E."""
        return self.down_proj(self.act(self.gate_proj(hidden_BTE)) * self.up_proj(hidden_BTE))


class BaichuanDecoderLayer(GradientCheckpointingLayer):
    """Attention and feed-forward, each behind a norm and added to what came in."""

    def __init__(self, config: BaichuanConfig, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = BaichuanAttention(config, layer_idx)
        self.mlp = BaichuanMLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_BTE: Tensor, **kwargs: Any) -> Tensor:
        """Return B x T x E."""
        hidden_BTE = hidden_BTE + self.self_attn(self.input_layernorm(hidden_BTE), **kwargs)[0]
        return hidden_BTE + self.mlp(self.post_attention_layernorm(hidden_BTE))


class NormHead(nn.Linear):
    """A head whose rows are brought to length 1 before use (arXiv 2309.10305, section 2.4)."""

    def normed_weight(self) -> Tensor:
        """Return V x E rows of length 1."""
        return F.normalize(self.weight, dim=-1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits."""
        return F.linear(hidden, self.normed_weight())


class BaichuanPreTrainedModel(InRepoModel):
    """What transformers asks of both classes below."""

    config: BaichuanConfig
    _no_split_modules = ["BaichuanDecoderLayer"]
    _can_record_outputs = {
        "hidden_states": BaichuanDecoderLayer,
        "attentions": OutputRecorder(BaichuanAttention, index=1),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, BaichuanAttention) and hasattr(module, "slopes_H"):
            init.copy_(module.slopes_H, make_slopes(self.config.num_attention_heads))


class BaichuanModel(BaichuanPreTrainedModel):
    """The decoder without its head."""

    sharding: dict[str, Shard] = {
        "layers.*.self_attn.W_pack": Shard("outputs", parts=(1, 1, 1)),
        "layers.*.self_attn.slopes_H": OUTPUTS,
        "layers.*.self_attn.o_proj": INPUTS,
        "layers.*.mlp.gate_proj": OUTPUTS,
        "layers.*.mlp.up_proj": OUTPUTS,
        "layers.*.mlp.down_proj": INPUTS,
    }

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            BaichuanDecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        is_rotary = config.position_embedding == "rope"
        self.rotary_emb = RotaryEmbedding(config) if is_rotary else None
        self.gradient_checkpointing = False
        self.post_init()

    @capture_outputs
    def forward(
        self, input_ids: torch.LongTensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPast:
        """Return hidden states, B x T x E, behind the last norm."""
        parts = Parts(self.embed_tokens, self.rotary_emb, self.layers, self.norm)
        return run_layers(self, parts, input_ids, **kwargs)


class BaichuanForCausalLM(CausalHead, BaichuanPreTrainedModel, GenerationMixin):
    """The decoder and its head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__(config)
        self.model = BaichuanModel(config)
        make_head = NormHead if config.norm_head else nn.Linear
        self.lm_head = make_head(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
