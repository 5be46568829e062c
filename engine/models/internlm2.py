"""InternLM2 (arXiv 2403.17297): grouped-query attention with one fused projection per layer.

Names, layouts and config keys are those of the published checkpoints; no code comes with them.
B batch, T positions, E hidden width, G key-value heads, Q queries of each, D head width.
"""

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from engine.models.decoder import CausalHead, InRepoModel, Parts, RMSNorm, attend, run_layers
from engine.models.rope import RotaryEmbedding, rotate_halves, to_published_keys
from engine.models.shards import INPUTS, OUTPUTS, Shard


@strict
class InternLM2Config(PreTrainedConfig):
    """The keys of a published config.json; `rope_scaling` is read into `rope_parameters`."""

    model_type = "internlm2"
    keys_to_ignore_at_inference = ["past_key_values"]
    # A key-value head and its queries lie together in `wqkv`: whole groups go to a rank.
    base_model_tp_plan = {
        "layers.*.attention.wqkv": "colwise",
        "layers.*.attention.wo": "rowwise",
        "layers.*.feed_forward.w1": "colwise",
        "layers.*.feed_forward.w3": "colwise",
        "layers.*.feed_forward.w2": "rowwise",
    }
    base_model_pp_plan = {
        "tok_embeddings": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    # A key that a config.json leaves out has the value that the publishers' own class gives it.
    vocab_size: int = 103168
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    bias: bool = True
    rope_parameters: dict | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill what follows from the rest."""
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        super().__post_init__(**kwargs)

    @property
    def head_dim(self) -> int:
        """D."""
        return self.hidden_size // self.num_attention_heads

    def to_dict(self) -> dict[str, Any]:
        """Return the published keys."""
        return to_published_keys(super().to_dict())


class InternLM2Attention(nn.Module):
    """Attention whose queries, keys and values are one matrix.

    Its outputs are, for each of G key-value heads, Q query heads, the key and the value.
    """

    def __init__(self, config: InternLM2Config, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.head_dim
        self.scaling = self.head_dim**-0.5
        self.dropout = 0.0
        self.is_causal = True
        groups = config.num_key_value_heads or config.num_attention_heads
        self.num_key_value_groups = config.num_attention_heads // groups
        num_heads = config.num_attention_heads + 2 * groups
        inner = config.num_attention_heads * self.head_dim
        self.wqkv = nn.Linear(config.hidden_size, num_heads * self.head_dim, bias=config.bias)
        self.wo = nn.Linear(inner, config.hidden_size, bias=config.bias)

    def forward(
        self,
        hidden_BTE: Tensor,
        *,
        angles: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Return B x T x E, and the weights where the attention keeps them."""
        size, length = hidden_BTE.shape[:2]
        groups = self.wqkv(hidden_BTE).view(
            size, length, -1, self.num_key_value_groups + 2, self.head_dim
        )
        query = groups[..., : self.num_key_value_groups, :].flatten(2, 3).transpose(1, 2)
        key, value = (groups[..., place, :].transpose(1, 2) for place in (-2, -1))
        out, weights = attend(
            self,
            rotate_halves(query, *angles),
            rotate_halves(key, *angles),
            value,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **kwargs,
        )
        return self.wo(out.flatten(2)), weights


class InternLM2MLP(nn.Module):
    """SwiGLU (arXiv 2002.05202): `w1` gates, `w3` carries, `w2` brings back."""

    def __init__(self, config: InternLM2Config) -> None:
        super().__init__()
        inner = config.intermediate_size
        self.w1 = nn.Linear(config.hidden_size, inner, bias=False)
        self.w3 = nn.Linear(config.hidden_size, inner, bias=False)
        self.w2 = nn.Linear(inner, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, hidden_BTE: Tensor) -> Tensor:
        """Return B x T x E."""
        return self.w2(self.act(self.w1(hidden_BTE)) * self.w3(hidden_BTE))


class InternLM2DecoderLayer(GradientCheckpointingLayer):
    """Attention and feed-forward, each behind a norm and added to what came in."""

    def __init__(self, config: InternLM2Config, layer_idx: int) -> None:
        super().__init__()
        self.attention = InternLM2Attention(config, layer_idx)
        self.feed_forward = InternLM2MLP(config)
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.ffn_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_BTE: Tensor, **kwargs: Any) -> Tensor:
        """Return B x T x E."""
        hidden_BTE = hidden_BTE + self.attention(self.attention_norm(hidden_BTE), **kwargs)[0]
        return hidden_BTE + self.feed_forward(self.ffn_norm(hidden_BTE))


class InternLM2PreTrainedModel(InRepoModel):
    """What transformers asks of both classes below."""

    config: InternLM2Config
    _input_embed_layer = "tok_embeddings"
    _no_split_modules = ["InternLM2DecoderLayer"]
    _can_record_outputs = {
        "hidden_states": InternLM2DecoderLayer,
        "attentions": OutputRecorder(InternLM2Attention, index=1),
    }


class InternLM2Model(InternLM2PreTrainedModel):
    """The decoder without its head."""

    sharding: dict[str, Shard] = {
        "layers.*.attention.wqkv": OUTPUTS,
        "layers.*.attention.wo": INPUTS,
        "layers.*.feed_forward.w1": OUTPUTS,
        "layers.*.feed_forward.w3": OUTPUTS,
        "layers.*.feed_forward.w2": INPUTS,
    }

    def __init__(self, config: InternLM2Config) -> None:
        super().__init__(config)
        self.tok_embeddings = nn.Embedding(
            config.vocab_size, config.hidden_size, config.pad_token_id
        )
        self.layers = nn.ModuleList(
            InternLM2DecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = RotaryEmbedding(config)
        self.gradient_checkpointing = False
        self.post_init()

    @capture_outputs
    def forward(
        self, input_ids: torch.LongTensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPast:
        """Return hidden states, B x T x E, behind the last norm."""
        parts = Parts(self.tok_embeddings, self.rotary_emb, self.layers, self.norm)
        return run_layers(self, parts, input_ids, **kwargs)


class InternLM2ForCausalLM(CausalHead, InternLM2PreTrainedModel, GenerationMixin):
    """The decoder and its head."""

    _tied_weights_keys = {"output.weight": "model.tok_embeddings.weight"}
    _tp_plan = {"output": "colwise_gather_output"}
    _pp_plan = {"output": (["hidden_states"], ["logits"])}

    def __init__(self, config: InternLM2Config) -> None:
        super().__init__(config)
        self.model = InternLM2Model(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the head."""
        return self.output

    def set_output_embeddings(self, head: nn.Linear) -> None:
        """Replace the head."""
        self.output = head
