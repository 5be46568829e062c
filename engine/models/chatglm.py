"""ChatGLM 2 and 3, and GLM-4 in the same layout (arXiv 2210.02414, 2406.12793).

Names, layouts and config keys are those of the published checkpoints; no code comes with them.
B batch, T positions, E hidden width, H heads, G key-value heads, D head width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from engine.models.decoder import CausalHead, InRepoModel, Parts, RMSNorm, attend, run_layers
from engine.models.rope import RotaryEmbedding, rotate_neighbours, to_published_keys
from engine.models.shards import INPUTS, Shard

# Switches of the publishers' class that no published checkpoint sets otherwise.
_ALWAYS = {
    "rmsnorm": True,
    "post_layer_norm": True,
    "multi_query_attention": True,
    "apply_residual_connection_post_layernorm": False,
    "fp32_residual_connection": False,
}


@strict
class ChatGLMConfig(PreTrainedConfig):
    """The keys of a published config.json."""

    model_type = "chatglm"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "vocab_size": "padded_vocab_size",
        "num_hidden_layers": "num_layers",
        "intermediate_size": "ffn_hidden_size",
        "num_key_value_heads": "multi_query_group_num",
        "head_dim": "kv_channels",
        "max_position_embeddings": "seq_length",
        "rms_norm_eps": "layernorm_epsilon",
    }
    # transformers' plans have no word for parts of unlike size: see `sharding`.
    base_model_pp_plan = {
        "embedding": (["input_ids"], ["inputs_embeds"]),
        "encoder.layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "encoder.final_layernorm": (["hidden_states"], ["hidden_states"]),
    }

    # A key that a config.json leaves out has the value that the publishers' own class gives it.
    num_layers: int = 28
    padded_vocab_size: int = 65024
    hidden_size: int = 4096
    ffn_hidden_size: int = 13696
    kv_channels: int = 128
    num_attention_heads: int = 32
    multi_query_group_num: int = 1
    seq_length: int = 2048
    layernorm_epsilon: float = 1e-5
    hidden_dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    add_qkv_bias: bool = False
    add_bias_linear: bool = False
    rope_ratio: float | int = 1
    initializer_range: float = 0.02
    use_cache: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse what no ChatGLM 2, 3 or GLM-4 has.

        Raises:
            ValueError: for the first ChatGLM, and for switches of another kind of model.
        """
        if "inner_hidden_size" in kwargs or "position_encoding_2d" in kwargs:
            raise ValueError("the first ChatGLM is another architecture; take ChatGLM2 or newer")
        for key, wanted in _ALWAYS.items():
            if kwargs.setdefault(key, wanted) != wanted:
                raise ValueError(f"{key} is {kwargs[key]}, which no published ChatGLM has")
        if kwargs.get("pre_seq_len") or kwargs.get("quantization_bit"):
            raise ValueError("it has a prefix encoder or is quantized; take the plain checkpoint")
        super().__post_init__(**kwargs)

    @property
    def rope_theta(self) -> float:
        """10 000 times the ratio by which the longer-windowed checkpoints stretch it."""
        return 10_000.0 * self.rope_ratio

    @property
    def rotary_width(self) -> int:
        """Half of a head turns."""
        return self.kv_channels // 2

    def to_dict(self) -> dict[str, Any]:
        """Return the published keys."""
        return to_published_keys(super().to_dict())


class ChatGLMAttention(nn.Module):
    """Attention whose queries, keys and values are one matrix: H queries, G keys, G values."""

    def __init__(self, config: ChatGLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.kv_channels
        self.scaling = self.head_dim**-0.5
        self.dropout = config.attention_dropout
        self.is_causal = True
        self.num_key_value_groups = config.num_attention_heads // config.multi_query_group_num
        inner = config.num_attention_heads * self.head_dim
        shared = config.multi_query_group_num * self.head_dim
        self.query_key_value = nn.Linear(
            config.hidden_size,
            inner + 2 * shared,
            bias=config.add_bias_linear or config.add_qkv_bias,
        )
        self.dense = nn.Linear(inner, config.hidden_size, bias=config.add_bias_linear)

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
        fused = self.query_key_value(hidden_BTE).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        groups = fused.shape[1] // (self.num_key_value_groups + 2)  # a rank may hold some of the G
        query, key, value = fused.split([groups * self.num_key_value_groups, groups, groups], dim=1)
        out, weights = attend(
            self,
            rotate_neighbours(query, *angles),
            rotate_neighbours(key, *angles),
            value,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **kwargs,
        )
        return self.dense(out.flatten(2)), weights


class ChatGLMMLP(nn.Module):
    """SwiGLU (arXiv 2002.05202) with gate and carrier in one matrix, in this order."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        inner, bias = config.ffn_hidden_size, config.add_bias_linear
        self.dense_h_to_4h = nn.Linear(config.hidden_size, 2 * inner, bias=bias)
        self.dense_4h_to_h = nn.Linear(inner, config.hidden_size, bias=bias)

    def forward(self, hidden_BTE: Tensor) -> Tensor:
        """Return B x T x E."""
        gate, carried = self.dense_h_to_4h(hidden_BTE).chunk(2, dim=-1)
        return self.dense_4h_to_h(F.silu(gate) * carried)


class ChatGLMBlock(GradientCheckpointingLayer):
    """Attention and feed-forward, each behind a norm and added to what came in."""

    def __init__(self, config: ChatGLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.dropout = config.hidden_dropout
        self.self_attention = ChatGLMAttention(config, layer_idx)
        self.mlp = ChatGLMMLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.layernorm_epsilon)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.layernorm_epsilon)

    def forward(self, hidden_BTE: Tensor, **kwargs: Any) -> Tensor:
        """Return B x T x E."""
        attended, _ = self.self_attention(self.input_layernorm(hidden_BTE), **kwargs)
        hidden_BTE = hidden_BTE + self._drop(attended)
        return hidden_BTE + self._drop(self.mlp(self.post_attention_layernorm(hidden_BTE)))

    def _drop(self, added_BTE: Tensor) -> Tensor:
        return F.dropout(added_BTE, self.dropout, training=self.training)


class ChatGLMEmbedding(nn.Module):
    """Holds the word embeddings, for their published name."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.padded_vocab_size, config.hidden_size)


class ChatGLMEncoder(nn.Module):
    """Holds the layers and the last norm, for their published names."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ChatGLMBlock(config, index) for index in range(config.num_layers)
        )
        self.final_layernorm = RMSNorm(config.hidden_size, config.layernorm_epsilon)


class ChatGLMPreTrainedModel(InRepoModel):
    """What transformers asks of both classes below."""

    config: ChatGLMConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["ChatGLMBlock"]
    _can_record_outputs = {
        "hidden_states": ChatGLMBlock,
        "attentions": OutputRecorder(ChatGLMAttention, index=1),
    }


class ChatGLMModel(ChatGLMPreTrainedModel):
    """The decoder. It holds the head, for its published name, and does not use it."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.embedding = ChatGLMEmbedding(config)
        self.rotary_pos_emb = RotaryEmbedding(config)
        self.encoder = ChatGLMEncoder(config)
        self.output_layer = nn.Linear(config.hidden_size, config.padded_vocab_size, bias=False)
        self.gradient_checkpointing = False
        self.post_init()

    @property
    def sharding(self) -> dict[str, Shard]:
        """How each layer is divided; the three parts of attention are of unlike size."""
        groups = self.config.multi_query_group_num
        return {
            "encoder.layers.*.self_attention.query_key_value": Shard(
                "outputs", parts=(self.config.num_attention_heads, groups, groups)
            ),
            "encoder.layers.*.self_attention.dense": INPUTS,
            "encoder.layers.*.mlp.dense_h_to_4h": Shard("outputs", parts=(1, 1)),
            "encoder.layers.*.mlp.dense_4h_to_h": INPUTS,
        }

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self.embedding.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.embedding.word_embeddings = value

    @capture_outputs
    def forward(
        self, input_ids: torch.LongTensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPast:
        """Return hidden states, B x T x E, behind the last norm."""
        encoder = self.encoder
        parts = Parts(
            self.embedding.word_embeddings,
            self.rotary_pos_emb,
            encoder.layers,
            encoder.final_layernorm,
        )
        return run_layers(self, parts, input_ids, **kwargs)


class ChatGLMForConditionalGeneration(CausalHead, ChatGLMPreTrainedModel, GenerationMixin):
    """The decoder with its head, under the name that published files give it."""

    _tied_weights_keys = {
        "transformer.output_layer.weight": "transformer.embedding.word_embeddings.weight"
    }
    _tp_plan = {"transformer.output_layer": "colwise_gather_output"}
    _pp_plan = {"transformer.output_layer": (["hidden_states"], ["logits"])}

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.transformer = ChatGLMModel(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """Return the head."""
        return self.transformer.output_layer

    def set_output_embeddings(self, head: nn.Linear) -> None:
        """Replace the head."""
        self.transformer.output_layer = head
