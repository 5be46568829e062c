"""What of a decoder layer is quantized, which layers share an input, and what comes before it.

A plan is by names within one layer. I inputs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import EngineError
from engine.status import Reason


@dataclass(frozen=True)
class AfterNorm:
    """The input is what a norm gives: its weight takes the scale."""

    norm: str


@dataclass(frozen=True)
class AfterLinear:
    """The input is made of a linear layer's outputs, each times something of its own."""

    linear: str
    rows_I: Tensor
    """For each input the output that it is made of; several may share one."""


@dataclass(frozen=True)
class InputGroup:
    """Linear layers with one input."""

    linears: tuple[str, ...]
    before: AfterNorm | AfterLinear
    may_clip: tuple[bool, ...]
    """Of each linear: queries and keys meet in a product, and are not clipped (AWQ's own rule)."""

    def merge(self, values_I: Tensor) -> Tensor:
        """Make values that can be divided out: inputs of one output get their geometric mean."""
        if isinstance(self.before, AfterNorm):
            return values_I
        rows, places = torch.unique(self.before.rows_I, return_inverse=True)
        places = places.to(values_I.device)
        sums = values_I.new_zeros(len(rows)).index_add_(0, places, values_I.clamp(1e-12).log())
        counts = values_I.new_zeros(len(rows)).index_add_(0, places, torch.ones_like(values_I))
        return (sums / counts).exp()[places]


LayerPlan = tuple[InputGroup, ...]


def plan_layer(layer: Any, config: Any) -> LayerPlan:
    """Return the plan of a decoder layer.

    Raises:
        EngineError: bad_model, for a layer that is not made of these parts alone.
    """
    names = {name for name, module in layer.named_modules() if isinstance(module, nn.Linear)}
    make = _KNOWN.get(frozenset(names))
    plan = make(layer, config) if make else ()
    if not plan or not all(_is_there(group.before, layer) for group in plan):
        raise EngineError(
            Reason.BAD_MODEL,
            f"model: layers of a {config.model_type} model are not made of norms and q, k, v, o, "
            "gate, up and down projections as Llama's are: quantize a model of the Llama, Qwen, "
            "Mistral, Gemma or InternLM families.",
        )
    return plan


def _is_there(before: AfterNorm | AfterLinear, layer: Any) -> bool:
    """Say whether a layer has what takes a scale: some are normed elsewhere, or weigh no norm."""
    if isinstance(before, AfterNorm):
        norm = dict(layer.named_modules()).get(before.norm)
        return isinstance(getattr(norm, "weight", None), Tensor)
    return int(before.rows_I.max()) + 1 == int(layer.get_submodule(before.linear).out_features)


def list_linears(plan: LayerPlan) -> list[str]:
    """Return the names of all linear layers of a plan."""
    return [name for group in plan for name in group.linears]


def fold_scale(layer: Any, group: InputGroup, scale_I: Tensor) -> None:
    """Multiply a group's weights by a scale and divide it out of what comes before, in place.

    The layer computes what it did, up to rounding.
    """
    for name in group.linears:
        layer.get_submodule(name).weight.data *= scale_I
    if isinstance(group.before, AfterNorm):
        norm = layer.get_submodule(group.before.norm)
        added = find_norm_offset(norm)
        norm.weight.data = (norm.weight.data + added) / scale_I - added
        if getattr(norm, "bias", None) is not None:
            norm.bias.data /= scale_I
        return
    linear = layer.get_submodule(group.before.linear)
    divisor = linear.weight.new_ones(linear.weight.shape[0])
    divisor[group.before.rows_I.to(divisor.device)] = scale_I
    linear.weight.data /= divisor[:, None]
    if linear.bias is not None:
        linear.bias.data /= divisor


def find_norm_offset(norm: Any) -> float:
    """Return what a norm adds to its weight before it multiplies: Gemma's add 1."""
    weight = norm.weight.data
    norm.weight.data = torch.zeros_like(weight)
    probe = torch.linspace(-1, 1, weight.numel(), device=weight.device, dtype=weight.dtype)[None]
    with torch.no_grad():
        given = norm(probe)
    norm.weight.data = weight
    return 1.0 if float(given.abs().max()) > 0 else 0.0


def _plan_llama(layer: Any, config: Any) -> LayerPlan:
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    width = layer.get_submodule("self_attn.o_proj").in_features // heads
    rows = _share_heads(heads, kv_heads, width)
    is_sandwich = hasattr(layer, "pre_feedforward_layernorm")
    ffn_norm = "pre_feedforward_layernorm" if is_sandwich else "post_attention_layernorm"
    inner = layer.get_submodule("mlp.up_proj").out_features
    return (
        InputGroup(
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            AfterNorm("input_layernorm"),
            (False, False, True),
        ),
        InputGroup(("self_attn.o_proj",), AfterLinear("self_attn.v_proj", rows), (True,)),
        InputGroup(("mlp.gate_proj", "mlp.up_proj"), AfterNorm(ffn_norm), (True, True)),
        InputGroup(
            ("mlp.down_proj",),
            AfterLinear("mlp.up_proj", torch.arange(inner)),
            (True,),
        ),
    )


def _plan_internlm2(layer: Any, config: Any) -> LayerPlan:
    """InternLM2's values lie in `wqkv` behind the queries and the key of their group."""
    heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    num_queries = heads // kv_heads
    plain = _share_heads(heads, kv_heads, width)
    group, place = plain // width, plain % width
    rows = (group * (num_queries + 2) + num_queries + 1) * width + place
    return (
        InputGroup(("attention.wqkv",), AfterNorm("attention_norm"), (False,)),
        InputGroup(("attention.wo",), AfterLinear("attention.wqkv", rows), (True,)),
        InputGroup(("feed_forward.w1", "feed_forward.w3"), AfterNorm("ffn_norm"), (True, True)),
        InputGroup(
            ("feed_forward.w2",),
            AfterLinear("feed_forward.w3", torch.arange(config.intermediate_size)),
            (True,),
        ),
    )


def _share_heads(heads: int, kv_heads: int, width: int) -> Tensor:
    """Return for each number of all heads the number of the value that it is a mean of."""
    head = torch.arange(heads).repeat_interleave(width) // (heads // kv_heads)
    return head * width + torch.arange(width).repeat(heads)


_LLAMA = frozenset(
    {f"self_attn.{part}_proj" for part in "qkvo"}
    | {f"mlp.{part}_proj" for part in ("gate", "up", "down")}
)
_INTERNLM2 = frozenset(
    {"attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"}
)
_KNOWN = {_LLAMA: _plan_llama, _INTERNLM2: _plan_internlm2}
